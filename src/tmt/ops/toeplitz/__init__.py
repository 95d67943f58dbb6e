"""The causal Toeplitz product: every channel of a head convolved over time with the head's kernel.

Three paths behind one function: the matrix product as the readable reference, its lower triangle in blocks,
and the fast Fourier transform.
"""

import torch
from torch import Tensor

from tmt import machine
from tmt.errors import InputError, unknown
from tmt.ops.toeplitz import blocked, fft, reference
from tmt.ops.toeplitz.flops import toeplitz_flops
from tmt.ops.toeplitz.reference import channel_sum, toeplitz_matrix

__all__ = ["channel_sum", "toeplitz", "toeplitz_flops", "toeplitz_impl", "toeplitz_matrix"]

IMPLEMENTATIONS = {"dense": reference.toeplitz, "fft": fft.toeplitz, "blocked": blocked.toeplitz}

DENSE_UNTIL = 128
"""Positions up to which the whole matrix is multiplied on an accelerator."""
BLOCKED_UNTIL, BLOCKED_UNTIL_FLOAT32 = 512, 192
"""Positions up to which blocks are: in native bfloat16 or on an accelerator; else on a CPU."""


def toeplitz(x: Tensor, kernel: Tensor, impl: str | None = None, growing: bool = False) -> Tensor:
    """``y[b, t, h, c] = Σ_{i<K} Σ_{k≤t} kernel[h, i, k] · x[b, t − k, h, c + i − (K − 1)]``.

    Channels before the first are zero, and so are taps beyond the kernel's; taps beyond S have no use.
    Autocast has no effect, and sums are taken in at least float32.

    Args:
        x: (B, S, H, D) float64, float32, bfloat16 or float16.
        kernel: (H, K, N) of a floating type, N ≥ 1: K kernels over neighbouring channels for each head.
        impl: "dense", "fft" or "blocked", or None for :func:`toeplitz_impl`.
        growing: whether results grow along the sequence, as with positive taps. Rounding of the late ones
            would drown the first in a float32 transform: it is done in float64, where the device has it.

    Returns:
        (B, S, H, D) in the type of x. Later positions have no effect on earlier ones, on the FFT path to
        within rounding of the largest value; see there and on the blocked path for NaN.

    Raises:
        InputError: an unknown path; shapes that do not fit; no element.
    """
    fitting = x.ndim == 4 and kernel.ndim == 3 and kernel.shape[0] == x.shape[2]
    if not fitting or 0 in (*x.shape, *kernel.shape):
        raise InputError(
            f"a Toeplitz product takes x (B, S, H, D) and a kernel (H, K, N) of as many heads, neither of "
            f"them empty; not {tuple(x.shape)} and {tuple(kernel.shape)}"
        )
    impl = impl or toeplitz_impl(x, kernel, growing)
    if impl not in IMPLEMENTATIONS:
        raise unknown("Toeplitz product implementation", impl, IMPLEMENTATIONS)
    if growing and x.dtype == torch.float32 and x.device.type != "mps":
        kernel = kernel.double()
    with torch.autocast(x.device.type, enabled=False):
        return IMPLEMENTATIONS[impl](x, kernel[..., : x.shape[1]])


def toeplitz_impl(x: Tensor, kernel: Tensor, growing: bool = False) -> str:
    """The path that :func:`toeplitz` takes for tensors of those shapes, that device and type.

    The limits are lengths at which a forward and backward pass of the blocked and of the FFT path took the
    same time for 256 to 2048 channels (B·H·D): on a processor with bfloat16 products in that type, in float32
    on one with AVX-512 and, to within 1.35, with AVX2 alone. Those of accelerators are not measured. In
    bfloat16 a kernel of half as many taps is as good as such a length. Where results grow, float64 is blocked
    at any length: no transform is finer, and who computes in float64 does so for exactness.
    """
    length, taps = x.shape[1], kernel.shape[-1]
    if growing and x.dtype == torch.float64:
        return "blocked"
    if x.device.type != "cpu":
        if length <= DENSE_UNTIL:
            return "dense"
    elif x.dtype != torch.bfloat16 or not machine.multiplies_bf16(x.device):
        return "blocked" if length <= BLOCKED_UNTIL_FLOAT32 else "fft"
    return "blocked" if min(length, 2 * taps) <= BLOCKED_UNTIL else "fft"
