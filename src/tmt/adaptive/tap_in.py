"""Tap-In: where the text ended like this before, some probability for the token that followed there.

The rule and its numbers are those of the parameter-golf records.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tmt.adaptive.matching import Matcher, Matches
from tmt.adaptive.mixture import LARGEST, MixtureWeights, Tally
from tmt.adaptive.part import Block, Chunk, Part
from tmt.model.checks import require
from tmt.training.distributed import Ranks

STRENGTH = 20.0
"""Observations that the formula's weight counts for where weights are learnt from it on."""
LENGTHS = (1, 2, 3, 4, 6, 9, 17)
"""The least of each range of lengths that is told apart."""
VOTES = (1, 2, 3, 5)
"""The least of each range of votes."""
BITS = 8
"""Ranges of the surprise that a hint would be to the model: 0 to 1 bits, …, 7 or more."""


@dataclass(frozen=True, kw_only=True)
class TapInSettings:
    """Which matches count, and how much. Raises InputError naming a bad field."""

    mode: Literal["exact", "document"] = "exact"
    """Where matches are looked for; :func:`tmt.adaptive.matching.make_matcher` says more."""
    min_match: int = 1
    """The fewest tokens that count as a match."""
    max_match: int = 100
    """The length at which longer matches are the same."""
    within: float = 0.02
    """Weight of the shortest match with one vote, where it lies in what the model sees."""
    cross: float = 0.06
    """The same where it lies before that."""
    top_k: int = 1000
    """A hint counts only among so many of the model's likeliest tokens."""
    cap: float = 0.5
    """The formula's largest weight."""
    weights: Literal["fixed", "learned"] = "fixed"
    """The formula's, or learnt from them on as the stream goes by."""

    def __post_init__(self):
        """Validate every field."""
        require(1 <= self.min_match <= self.max_match, self, "min_match", "must be in [1, max_match]")
        require(self.top_k >= 1, self, "top_k", "must be at least 1")
        require(0 < self.cap < LARGEST, self, "cap", f"must be above 0 and below {LARGEST}")
        for name in ("within", "cross"):
            require(0 <= getattr(self, name) < 1, self, name, "must be in [0, 1)")
            learnable = self.weights == "fixed" or getattr(self, name) > 0
            require(learnable, self, name, "must be above 0 where weights are learned")

    def weight(self, length: Tensor, votes: Tensor, cross: Tensor) -> Tensor:
        """The formula: weights (n,) float64 of matches with these lengths, votes and kinds (n,)."""
        base = torch.where(cross, self.cross, self.within).double()
        weight = base * (1 + 0.15 * (length.double() - self.min_match)) * (1 + 0.2 * votes.double().log())
        return weight.clamp(max=self.cap)


class _Fires(NamedTuple):
    """The hints that are mixed in, each tensor (r,)."""

    row: Tensor
    hint: Tensor
    p_hint: Tensor
    """The model's probability of the hint."""
    group: Tensor
    """Kind, length and votes of the match as one number."""
    bucket: Tensor
    """Group and bits as one number."""
    weight: Tensor


class TapIn(Part):
    """Moves each row with a hint h towards it: p'(v) = (1 − w) p(v), and p'(h) = (1 − w) p(h) + w."""

    name = "tap_in"
    reads = "the tokens so far: where they ended like this before, and what followed there"

    def __init__(self, settings: TapInSettings, matcher: Matcher):
        """`matcher` is at the start of the stream, and of the settings' mode and lengths."""
        self._settings, self._matcher = settings, matcher
        self._tally = Tally(2 * len(LENGTHS) * len(VOTES), 5)
        self._weights = MixtureWeights(_starts(settings), STRENGTH) if settings.weights == "learned" else None
        self._blended: tuple[_Fires, Tensor, Tensor] | None = None

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        """See :class:`Part`; rows without a hint among the likeliest tokens stay as they are."""
        fires = self._fires(self._matcher.advance(block.ids), block.own, log_probs)
        shift = log_probs.new_zeros(len(log_probs), 1)
        shift[fires.row, 0] = (-fires.weight).log1p().to(shift)
        mixed, hints = log_probs + shift, fires[:2]
        mixed[hints] = torch.logaddexp(mixed[hints], fires.weight.log())
        self._blended = fires, log_probs, mixed
        return mixed

    def _fires(self, matches: Matches, own: slice, log_probs: Tensor) -> _Fires:
        found = (matches.hint, matches.length, matches.votes, matches.cross)
        hint, length, votes, cross = (torch.from_numpy(values[own]).to(log_probs.device) for values in found)
        log_p = log_probs.gather(1, hint.clamp(min=0)[:, None])
        likely = (log_probs > log_p).sum(1) < self._settings.top_k
        row = ((hint >= 0) & likely).nonzero()[:, 0]
        hint, length, votes, cross, log_p = (x[row] for x in (hint, length, votes, cross, log_p[:, 0]))
        group = (cross * len(LENGTHS) + _range(length, LENGTHS)) * len(VOTES) + _range(votes, VOTES)
        bits = (log_p / -math.log(2)).clamp(max=BITS - 1).long()
        bucket = group * BITS + bits
        if self._weights is None:
            weight = self._settings.weight(length, votes, cross).float()
        else:
            weight = self._weights.weights(bucket)
        return _Fires(row, hint, log_p.exp(), group, bucket, weight)

    def book(self, block: Block, targets: Tensor) -> None:
        """See :class:`Part`."""
        assert self._blended is not None
        fires, *stages = self._blended
        self._blended = None
        target = targets[block.own][fires.row]
        before, after = (stage[fires.row, target].double() for stage in stages)
        hit = (target == fires.hint).double()
        self._tally.add(
            fires.group,
            torch.stack([torch.ones_like(hit), hit, fires.p_hint, fires.weight, after - before], 1),
        )
        if self._weights is not None:
            self._weights.observe(fires.bucket, before.exp(), hit)

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        """See :class:`Part`."""
        self._tally.learn(ranks)
        if self._weights is not None:
            self._weights.learn(ranks)

    def state(self) -> dict[str, Any]:
        """See :class:`Part`."""
        weights = {} if self._weights is None else {"weights": self._weights.state()}
        return {"tally": self._tally.total, **weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        self._tally.restore(state["tally"])
        if self._weights is not None:
            self._weights.restore(state["weights"])

    def reread(self, ids: npt.NDArray[np.int64]) -> None:
        """See :class:`Part`."""
        self._matcher.advance(ids)

    def figures(self) -> dict[str, Any]:
        """Fires and nats gained in all; the same with hits and means for each kind of match that fired."""
        groups = []
        kinds = product((False, True), _names(LENGTHS), _names(VOTES))
        for kind, (fires, *sums) in zip(kinds, self._tally.total.tolist(), strict=True):
            if fires:
                hits, p_hint, weight, nats = sums
                means = dict(hit_rate=hits / fires, p_hint=p_hint / fires, weight=weight / fires)
                match = dict(zip(("cross", "length", "votes"), kind, strict=True))
                groups.append({**match, "fires": int(fires), **means, "gain_nats": nats})
        total = self._tally.total.sum(0)
        return {"fires": int(total[0]), "gain_nats": float(total[4]), "matches": groups}


def _starts(settings: TapInSettings) -> Tensor:
    """The formula's weight in every bucket, for its least length and votes."""
    cross, length, votes = torch.cartesian_prod(
        torch.arange(2), torch.tensor(LENGTHS), torch.tensor(VOTES)
    ).unbind(1)
    length = length.clamp(settings.min_match, settings.max_match)
    return settings.weight(length, votes, cross == 1).repeat_interleave(BITS)


def _range(numbers: Tensor, firsts: tuple[int, ...]) -> Tensor:
    return torch.bucketize(numbers, numbers.new_tensor(firsts), right=True) - 1


def _names(firsts: tuple[int, ...]) -> list[str]:
    names = [str(low) if next == low + 1 else f"{low}-{next - 1}" for low, next in pairwise(firsts)]
    return [*names, f"{firsts[-1]}+"]
