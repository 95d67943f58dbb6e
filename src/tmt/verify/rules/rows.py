"""Rows of a batch, and what pads them, do not know of each other."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tmt.verify.differences import Difference, farthest
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule


def _rows(probe: Probe) -> Iterator[Difference]:
    tokens = probe.tokens(3)
    tokens[0] = probe.tokens()[0]
    together = probe.subject.logits(tokens)
    for row in range(len(tokens)):
        alone = probe.subject.logits(tokens[row : row + 1])
        words = f"the logits of position {{}} are others in row {row} of a batch than alone"
        yield from farthest(together[row : row + 1], alone, lambda _, at, words=words: words.format(at))
    others = torch.cat([tokens[:1], probe.others(tokens[1:])])
    words = "the logits of row 0 at position {} move when only other rows change"
    logits = probe.subject.logits(others)[:1]
    yield from farthest(logits, together[:1], lambda _, at: words.format(at))


def _padding(probe: Probe) -> Iterator[Difference]:
    lengths = torch.tensor([probe.length, 1, (probe.length + 1) // 2], device=probe.subject.device)
    tokens = probe.tokens(3)
    alone = [probe.subject.logits(tokens[b : b + 1, :n]) for b, n in enumerate(lengths.tolist())]
    for side in ("right", "left"):
        for salt in (0, 1):
            padded = _padded(tokens, probe.tokens(3, salt=10 + salt), lengths, side)
            logits = probe.subject.logits(padded, lengths, side)
            for b, n in enumerate(lengths.tolist()):
                own = logits[b : b + 1, :n] if side == "right" else logits[b : b + 1, probe.length - n :]
                words = f"with padding on the {side}, the logits of a row of {n} move at its position {{}}"
                yield from farthest(own, alone[b], lambda _, at, words=words: words.format(at))


def _padded(tokens: Tensor, padding: Tensor, lengths: Tensor, side: str) -> Tensor:
    """Each row's first tokens, with `padding` around them."""
    padded, length = padding.clone(), tokens.shape[1]
    for b, n in enumerate(lengths.tolist()):
        start = 0 if side == "right" else length - n
        padded[b, start : start + n] = tokens[b, :n]
    return padded


ROWS = Rule("rows", "rows of a batch do not know of each other", "rows together, alone, beside others", _rows)
PADDING = Rule(
    "padding",
    "padding changes nothing, on either side, whatever stands there",
    "three lengths, both sides, two contents",
    _padding,
)
