"""Choosing the next token from logits."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmt.errors import InputError


def row_generators(seed: int, rows: Iterable[int]) -> list[torch.Generator]:
    """One CPU generator per row, seeded from (seed, its number): what a row draws depends on no other row.

    Raises:
        InputError: `seed` is negative.
    """
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")
    states = (int(np.random.SeedSequence([seed, row]).generate_state(1)[0]) for row in rows)
    return [torch.Generator().manual_seed(state) for state in states]


@dataclass(frozen=True)
class Sampler:
    """Softmax sampling at a temperature from the likeliest tokens. Raises InputError naming a bad field."""

    temperature: float = 0.8
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Only so many likeliest tokens are considered."""
    top_p: float | None = None
    """Of those, the fewest likeliest ones that hold this much probability together, at least one
    (Holtzman et al., 2020)."""
    min_p: float | None = None
    """Of those, the ones with this share of the highest probability at least (Nguyen et al., 2025)."""
    repetition_penalty: float = 1.0
    """What the logits of tokens that came already are divided by, or multiplied where they are negative
    (Keskar et al., 2019)."""

    def __post_init__(self) -> None:
        """Validate every field."""
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature={self.temperature} must be a number of at least 0")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k={self.top_k} must be at least 1")
        for name in ("top_p", "min_p"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise InputError(f"{name}={share} must be in (0, 1]")
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(f"repetition_penalty={self.repetition_penalty} must be a number above 0")

    def __call__(
        self, logits: Tensor, generators: Sequence[torch.Generator], rows: Sequence[Sequence[int]]
    ) -> Tensor:
        """One token per row.

        A number between 0 and 1 falls among the probabilities in the order of the ids, not of their size:
        noise in the logits that swaps two tokens of like probability then changes no other choice.

        Args:
            logits: (B, V) on any device.
            generators: B generators on the CPU, one a row; each is drawn from once.
            rows: B rows of the ids that came so far.

        Returns:
            (B,) int64 on the CPU.
        """
        if self.repetition_penalty != 1:
            logits = self._penalised(logits, rows)
        if self.temperature == 0:
            return logits.argmax(-1).cpu()
        reached = self.distribution(logits).cumsum(-1)
        drawn = [torch.rand(1, generator=generator, dtype=torch.float64) for generator in generators]
        chosen = torch.searchsorted(reached, torch.stack(drawn) * reached[:, -1:], right=True)[:, 0]
        return chosen.minimum((reached < reached[:, -1:]).sum(-1))  # where rounding ends beyond the last

    def distribution(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to the probabilities (B, V) float64 on the CPU by which tokens are drawn."""
        values = logits.double().cpu()
        if self.top_k is None and self.top_p is None:
            return self._filtered(values)
        best, ids = values.topk(min(self.top_k or values.shape[-1], values.shape[-1]))
        return torch.zeros_like(values).scatter(1, ids, self._filtered(best))

    def _filtered(self, values: Tensor) -> Tensor:
        """The probabilities of the logits that are considered, which fall along a row where top_p is set."""
        highest = values.amax(-1, keepdim=True)
        probabilities = ((values - highest) / self.temperature).softmax(-1)
        if self.top_p is not None:
            before = probabilities.cumsum(-1) - probabilities
            before[:, 0] = 0
            probabilities = probabilities.masked_fill(before >= self.top_p, 0)
        if self.min_p is not None:
            least = self.min_p * probabilities.amax(-1, keepdim=True)
            probabilities = probabilities.masked_fill(probabilities < least, 0)
        return probabilities / probabilities.sum(-1, keepdim=True)

    def _penalised(self, logits: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
        penalised = logits.float().cpu().clone()
        for row, ids in zip(penalised, rows, strict=True):
            seen = torch.tensor(sorted({*ids}))
            row[seen] = torch.where(
                row[seen] > 0, row[seen] / self.repetition_penalty, row[seen] * self.repetition_penalty
            )
        return penalised
