"""Rotary position embedding (Su et al., 2021), half-split layout."""

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines (n, E/2) of the angles at n positions."""


def rotation(positions: Tensor, width: int, base: float, dtype: torch.dtype = torch.float32) -> Rotation:
    """Angles position · base^(−2j/E) of heads of `width` E, even, at `positions` (n,).

    They are taken in float64 where the device has it: in float32 they are off by 1e-4 at position 4000.
    """
    half = width // 2
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    frequency = base ** (-torch.arange(half, device=positions.device, dtype=exact) / half)
    angle = positions[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the pairs (j, j + R/2) of heads (n, H, E) by the angles (n, R/2) of their position.

    Channels from R on stay as they are.
    """
    cos, sin = (part[:, None].to(x.dtype) for part in rotation)
    half = cos.shape[-1]
    first, second, rest = x.split([half, half, x.shape[-1] - 2 * half], -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)
