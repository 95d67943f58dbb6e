"""The tokens that a model is tried on, and how far rounding alone moves its logits."""

from functools import cached_property

import torch
from torch import Tensor

from tmt.verify.subject import Subject

COMMON = 7
"""So many symbols make half of the tokens, so that equal ones recur as they do in a text."""
MOST_CUTS, FEW_CUTS = 48, 8
"""Positions that are cut at in a long text, beside the model's edges; where every cut costs a pass."""
ROUNDING = 64
"""How many units in the last place of the largest logit are taken for rounding."""
MEASURED = 16
"""How many times the rounding that was measured is taken for rounding."""
NUDGE = {torch.float64: 1e-9, torch.bfloat16: 2.0**-8}
"""Relative steps of weights that show rounding; in float64 they show what is computed in float32 inside."""


class Probe:
    """What one model is tried on in one number format; every draw depends on the seed alone."""

    def __init__(self, subject: Subject, length: int, seed: int):
        """The tokens of a row are `length`, fewer where the model reads no more."""
        self.subject, self.seed = subject, seed
        self.length = length if subject.longest is None else min(length, subject.longest)

    def tokens(self, rows: int = 1, length: int | None = None, salt: int = 0) -> Tensor:
        """(rows, length) int64, other ones for another salt."""
        shape = rows, self.length if length is None else length
        generator = torch.Generator().manual_seed(1000 * self.seed + salt)
        vocab = self.subject.vocab_size
        common = torch.randperm(vocab, generator=generator)[:COMMON][
            torch.randint(min(COMMON, vocab), shape, generator=generator)
        ]
        rare = torch.randint(vocab, shape, generator=generator)
        return torch.where(torch.rand(shape, generator=generator) < 0.5, common, rare).to(self.subject.device)

    def others(self, tokens: Tensor, salt: int = 0) -> Tensor:
        """Tokens of the same shape, each another than before."""
        generator = torch.Generator().manual_seed(1000 * self.seed + 500 + salt)
        vocab = self.subject.vocab_size
        shift = torch.randint(1, max(2, vocab), tokens.shape, generator=generator).to(tokens)
        return (tokens + shift) % vocab

    @property
    def cuts(self) -> list[int]:
        """Positions to cut at: all of a short text; in a long one some, ends of chunks, the model's edges."""
        return self._cuts(MOST_CUTS)

    @property
    def few_cuts(self) -> list[int]:
        """The same for rules that need a pass of their own for every cut."""
        return self._cuts(FEW_CUTS)

    def _cuts(self, most: int) -> list[int]:
        last = self.length - 2
        spread = torch.linspace(0, last, min(most, last + 1)).long().tolist()
        chunks = (2**power - 1 for power in range(3, last.bit_length()))
        edges = (e for edge in self.subject.edges for e in range(edge - 1, edge + 2))
        return sorted({cut for cut in (*spread, *chunks, *edges) if 0 <= cut <= last})

    @cached_property
    def whole(self) -> Tensor:
        """Logits (1, T, V) of the tokens."""
        return self.subject.logits(self.tokens())

    @cached_property
    def noise(self) -> float:
        """What rounding amounts to in the logits, in nine of ten positions at most; measured, not assumed.

        Weights move a little in one direction, once and twice as far. At such steps curvature is nothing, so
        that the second difference of a logit is its rounding, that of parts in a coarser format included.
        """
        there, twice = (self.nudged(steps).logits(self.tokens()) for steps in (1, 2))
        rounding = (twice - 2 * there + self.whole).abs().amax(-1).flatten().double()
        return float(rounding.nan_to_num(posinf=0).quantile(0.9))

    def nudged(self, steps: int = 1, salt: int = 0) -> Subject:
        """The model with every weight a few units in the last place larger or smaller."""
        dtype = self.subject.dtype
        step = steps * NUDGE.get(dtype, 8 * torch.finfo(dtype).eps)
        other = self.subject.converted(dtype)
        generator = torch.Generator().manual_seed(1000 * self.seed + salt)
        with torch.no_grad():
            for weight in other.module.parameters():
                if weight.is_floating_point():
                    sign = torch.randint(0, 2, weight.shape, generator=generator).to(weight) * 2 - 1
                    weight.add_(weight * sign * step)
        return other

    @cached_property
    def limit(self) -> float:
        """What a logit may move by without a reason."""
        eps = torch.finfo(self.subject.dtype).eps
        largest = float(self.whole.abs().nan_to_num(posinf=0).max())
        return max(ROUNDING * eps * largest, MEASURED * self.noise)
