"""The causal Toeplitz product against the dense matrix, and padding to round lengths against the shortest."""

from functools import partial

import torch
from torch import Tensor

from tmt.bench.op import Op, Parts
from tmt.ops.toeplitz import BLOCKED_UNTIL, toeplitz, toeplitz_impl, toeplitz_matrix

HEADS, WIDTH = 4, 64
SMALL_LENGTH = BLOCKED_UNTIL + 1
"""Positions of the parity check: as few as take the path of the long sequences."""


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """Inputs (B, S, H, D) and kernels (H, 1, S) float32 whose outputs are of order 1."""
    torch.manual_seed(0)
    return {
        "x": torch.randn(batch, length, HEADS, WIDTH, device=device).to(dtype),
        "kernel": torch.randn(HEADS, 1, length, device=device) * length**-0.5,
    }


def draw_small(dtype: torch.dtype, device: torch.device) -> Parts:
    """Two sequences of odd length."""
    return draw(2, SMALL_LENGTH, dtype, device)


def ours(parts: Parts, impl: str | None = None) -> Tensor:
    """(B, S, H, D)."""
    return toeplitz(parts["x"], parts["kernel"], impl)


def heads_first(parts: Parts) -> Parts:
    """Inputs as a batched matrix product wants them: (B, H, S, D)."""
    return parts | {"x": parts["x"].transpose(1, 2).contiguous()}


def matrix_product(parts: Parts) -> Tensor:
    """The triangular matrices in the type of x, times x: (B, H, S, D)."""
    x = parts["x"]
    return toeplitz_matrix(parts["kernel"], x.shape[2])[:, 0].to(x.dtype) @ x


def time_last(parts: Parts) -> Parts:
    """Inputs as the transform wants them: (B, H, D, S)."""
    return parts | {"x": parts["x"].permute(0, 2, 3, 1).contiguous()}


def shortest_padding(parts: Parts) -> Tensor:
    """Transforms of exactly 2 S − 1 points, the fewest without wrapping around: (B, H, D, S)."""
    x, length = parts["x"], parts["x"].shape[-1]
    size = 2 * length - 1
    spectra = torch.fft.rfft(x.float(), size) * torch.fft.rfft(parts["kernel"], size)
    return torch.fft.irfft(spectra, size)[..., :length].to(x.dtype)


TOEPLITZ = Op(
    name="toeplitz",
    choice=lambda parts: toeplitz_impl(parts["x"], parts["kernel"]),
    draw=draw,
    ours=ours,
    peer_name="matrix",
    peer=matrix_product,
    peer_parts=heads_first,
    draw_small=draw_small,
    ours_small=ours,
    reference=partial(ours, impl="dense"),
)
TOEPLITZ_FFT = Op(
    name="toeplitz_fft",
    choice=lambda parts: "fft",
    draw=draw,
    ours=partial(ours, impl="fft"),
    peer_name="fft(2n-1)",
    peer=shortest_padding,
    peer_parts=time_last,
    draw_small=draw_small,
    ours_small=partial(ours, impl="fft"),
    reference=partial(ours, impl="dense"),
)
