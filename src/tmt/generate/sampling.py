"""Choosing the next token from logits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmt.errors import InputError


def row_generators(seed: int, rows: int) -> list[torch.Generator]:
    """One CPU generator per row, seeded from (seed, row): what a row draws depends on no other row.

    Raises:
        InputError: `seed` is negative.
    """
    if seed < 0:
        raise InputError(f"seed={seed} must not be negative")
    states = (int(np.random.SeedSequence([seed, row]).generate_state(1)[0]) for row in range(rows))
    return [torch.Generator().manual_seed(state) for state in states]


@dataclass(frozen=True)
class Sampler:
    """Softmax sampling at a temperature from the likeliest tokens. Raises InputError naming a bad field."""

    temperature: float = 0.8
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Only so many likeliest tokens are considered."""
    top_p: float | None = None
    """Of those, the fewest likeliest ones that hold this much probability together, at least one."""

    def __post_init__(self) -> None:
        """Validate every field."""
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature={self.temperature} must be a number of at least 0")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k={self.top_k} must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p} must be in (0, 1]")

    def __call__(self, logits: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """One token per row.

        Args:
            logits: (B, V) on any device.
            generators: B generators on the CPU, one a row; each is drawn from once.

        Returns:
            (B,) int64 on the CPU.
        """
        if self.temperature == 0:
            return logits.argmax(-1).cpu()
        ids, probabilities = self.distribution(logits)
        chosen = [
            torch.multinomial(p, 1, generator=g) for p, g in zip(probabilities, generators, strict=True)
        ]
        return ids.gather(1, torch.stack(chosen))[:, 0]

    def distribution(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The (B, K) ids considered, likeliest first, and their probabilities (float32), on the CPU."""
        values, ids = logits.float().cpu().topk(min(self.top_k or logits.shape[-1], logits.shape[-1]))
        probabilities = ((values - values[:, :1]) / self.temperature).softmax(-1)
        if self.top_p is not None:
            before = probabilities.double().cumsum(-1) - probabilities
            before[:, 0] = 0
            probabilities = probabilities.masked_fill(before >= self.top_p, 0)
            probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        return ids, probabilities
