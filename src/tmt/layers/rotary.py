"""Rotary position embedding (Su et al., 2021), half-split layout."""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines (n, E/2) float32 of the angles at n positions."""


def rotation(positions: Tensor, width: int, base: float) -> Rotation:
    """Angles position · base^(−2j/E) of heads of `width` E, even, at `positions` (n,)."""
    half = width // 2
    frequency = base ** (-torch.arange(half, device=positions.device, dtype=torch.float32) / half)
    angle = positions[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs (j, j + E/2) of heads (n, H, E) by the angles of their position."""
    cos, sin = (part[:, None].to(x.dtype) for part in rotation)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
