"""The tile of relaxed convolution: what a block of inputs adds to the outputs of the block after it.

A causal convolution whose inputs arrive one by one costs O(n log² n) when every block of U = 2^j inputs is
applied to its next block as soon as it is complete (Fischer & Stockmeyer, 1974; van der Hoeven, 2002).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.ops.precision import at_least_float32
from tmt.ops.toeplitz.flops import transform_flops
from tmt.ops.toeplitz.reference import channel_sum

LONGEST_PRODUCT = 32
"""Tiles of up to so many inputs are one small matrix product, longer ones a circular convolution."""


def tile(x: Tensor, kernel: Tensor) -> Tensor:
    """``y[o] = Σ_i w[U + o − i] x[i]`` for inputs x (B, U, H, D), kernel (H, K, N): (B, U, H, D).

    Sums are in float32 at least, and so is the result.
    """
    size = x.shape[1]
    x, taps = at_least_float32(x.transpose(1, 2)), at_least_float32(kernel[..., : 2 * size])
    taps = F.pad(taps, (0, 2 * size - taps.shape[-1]))
    if size <= LONGEST_PRODUCT:
        steps = torch.arange(size, device=x.device)
        products = taps[..., size + steps[:, None] - steps] @ x[:, :, None]
    else:
        spectrum = torch.fft.rfft(taps)[..., None] * torch.fft.rfft(x, n=2 * size, dim=2)[:, :, None]
        products = torch.fft.irfft(spectrum, n=2 * size, dim=3)[..., size:, :]
    return channel_sum(products.transpose(2, 3)).transpose(1, 2)


def tile_flops(batch: int, size: int, heads: int, shifts: int, width: int) -> int:
    """Operations of :func:`tile`; a complex product counts 6."""
    if size <= LONGEST_PRODUCT:
        return 2 * batch * heads * shifts * width * size * size
    length = 2 * size
    transform = int(transform_flops(length))
    rows = batch * heads * width
    return transform * (rows * (1 + shifts) + heads * shifts) + 6 * rows * shifts * (size + 1)
