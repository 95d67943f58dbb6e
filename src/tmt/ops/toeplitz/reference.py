"""The product as a matrix product: quadratic, and obvious.

Later positions are multiplied by zero: no finite value among them has any effect, a NaN or infinity has.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.ops.precision import at_least_float32


def toeplitz(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, S, H, D) in the type of x; the H·K matrices (S, S) are kept for the gradients."""
    matrix = toeplitz_matrix(kernel, x.shape[1]).to(at_least_float32(x).dtype)
    products = torch.einsum("hkts,bshd->bthkd", matrix, at_least_float32(x))
    return channel_sum(products).to(x.dtype)


def toeplitz_matrix(kernel: Tensor, length: int) -> Tensor:
    """(H, K, length, length) lower triangular, entry (t, s) the tap t − s of kernel (H, K, N)."""
    taps = kernel[..., :length]
    taps = F.pad(taps, (0, length - taps.shape[-1] + 1))
    return taps[..., _lags(length, kernel.device)]


def channel_sum(z: Tensor) -> Tensor:
    """``Σ_i z[…, i, c + i − (K − 1)]`` of z (…, K, D), zero outside the channels: (…, D)."""
    shifts, width = z.shape[-2:]
    shifted = (F.pad(z[..., i, :], (shifts - 1 - i, 0))[..., :width] for i in range(shifts))
    return sum(shifted, next(shifted))


@lru_cache(maxsize=8)
def _lags(length: int, device: torch.device) -> Tensor:
    """(length, length) int64 lag t − s, or `length` where s is after t."""
    with torch.inference_mode(False):  # what is kept must also serve autograd
        steps = torch.arange(length, device=device)
        lags = steps[:, None] - steps
        return lags.where(lags >= 0, length)
