"""Rotary position embedding (Su et al., 2021), half-split layout."""

import torch
from torch import Tensor


def rotate(x: Tensor, positions: Tensor | None, base: float) -> Tensor:
    """Rotate the pairs (j, j + E/2) of each head by position · base^(−2j/E).

    Args:
        x: (n, H, E), E even.
        positions: (n,) int64, or None to return `x` as it is.
        base: wavelength base.
    """
    if positions is None:
        return x
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = positions[:, None, None] * frequency
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
