"""A text means the same wherever it stands."""

from collections.abc import Iterator

import torch

from tmt.verify.differences import Difference, farthest
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule

ORIGINS = (1, 1000)


def _shift(probe: Probe) -> Iterator[Difference]:
    tokens = probe.tokens()
    for origin in ORIGINS:
        words = f"the logits of position {{}} move when positions are counted from {origin}"
        moved = probe.subject.moved(tokens, origin)
        yield from farthest(moved, probe.whole, lambda _, at, words=words: words.format(at))


def _limit(probe: Probe) -> float:
    """Many take angles in float32 whatever the weights: they are off by a share of the origin."""
    angles = ORIGINS[-1] * torch.finfo(torch.float32).eps
    return max(probe.limit, angles * float(probe.whole.abs().max()))


SHIFT = Rule(
    "shift",
    "only distances count, not positions",
    "positions counted from 0 and from elsewhere",
    _shift,
    _limit,
)
