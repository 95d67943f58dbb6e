"""The product through the Fourier transform: ``O(S log S)`` a channel, the input alone kept for gradients.

Rows are padded with zeros so far that the circular convolution equals the linear one. Rounding is relative
to the largest value of a row: a later value reaches earlier results within it, a later NaN or infinity
reaches all of them. A float64 kernel is transformed in float64, at about twice the time; with float32 x that
rounding is far below the results'.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP_ELEMENTS = 2**19
"""Padded elements that are transformed at once on a CPU: as many as stay in its caches."""
ACCELERATOR_GROUP_ELEMENTS = 2**26
"""The same elsewhere: as many as keep it busy."""
FEWEST_ROWS = 16
"""Channels at once, however long: fewer make the transposition slow."""


class Group(NamedTuple):
    """What is transformed at once."""

    sequences: slice
    heads: slice
    channels: slice


def toeplitz(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, S, H, D) in the type of x, of a kernel with at most S taps."""
    return _Toeplitz.apply(x, kernel)


def fft_length(length: int, taps: int) -> int:
    """The shortest of 2^a, 3·2^a and 5·2^a that keeps the convolution from wrapping around."""
    needed = length + taps - 1
    return min(factor << max(0, (-(-needed // factor) - 1).bit_length()) for factor in (1, 3, 5))


class _Toeplitz(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, kernel):
        ctx.save_for_backward(x, kernel)
        size, before = fft_length(x.shape[1], kernel.shape[-1]), kernel.shape[1] - 1
        exact = _exact(x, kernel)
        spectra = torch.fft.rfft(kernel.to(exact), size)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        for group in _groups(x, size):
            _write(y, group, _mix(_spectra(x, group, size, exact, before), spectra[group.heads]), size)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        x, kernel = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            return _gradients(x, kernel, grad, *ctx.needs_input_grad)


def _gradients(
    x: Tensor, kernel: Tensor, grad: Tensor, for_x: bool, for_kernel: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Correlations of `grad` with the kernel and with x; the latter are summed before their inverse."""
    size, shifts, exact = fft_length(x.shape[1], kernel.shape[-1]), kernel.shape[1], _exact(x, kernel)
    spectra = torch.fft.rfft(kernel.to(exact), size)
    adjoint, total = spectra.flip(1).conj_physical(), torch.zeros_like(spectra)
    grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device) if for_x else None
    for group in _groups(x, size):
        after = _spectra(grad, group, size, exact, after=shifts - 1)
        if grad_x is not None:
            _write(grad_x, group, _mix(after, adjoint[group.heads]), size)
        if for_kernel:
            own = _spectra(x, group, size, exact).conj_physical_()
            for i in range(shifts):
                matching = after[:, :, i : i + own.shape[2]]
                total[group.heads, shifts - 1 - i] += (own * matching).sum((0, 2))
    if not for_kernel:
        return grad_x, None
    return grad_x, torch.fft.irfft(total, size)[..., : kernel.shape[-1]].to(kernel.dtype)


def _exact(x: Tensor, kernel: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, kernel.dtype), torch.float32)


def _groups(x: Tensor, size: int) -> Iterator[Group]:
    """Pieces of x (B, S, H, D), each with all of the time."""
    elements = GROUP_ELEMENTS if x.device.type == "cpu" else ACCELERATOR_GROUP_ELEMENTS
    rows = max(FEWEST_ROWS, elements // size)
    batch, _, heads, width = x.shape
    channels = min(width, rows)
    together = min(heads, rows // channels)
    sequences = min(batch, rows // (channels * together))
    for b, h, c in product(range(0, batch, sequences), range(0, heads, together), range(0, width, channels)):
        yield Group(slice(b, b + sequences), slice(h, h + together), slice(c, min(c + channels, width)))


def _spectra(
    x: Tensor, group: Group, size: int, exact: torch.dtype, before: int = 0, after: int = 0
) -> Tensor:
    """(B', H', before + D' + after, size // 2 + 1) of a group and of the channels around, zero outside."""
    first, last = group.channels.start - before, group.channels.stop + after
    rows = x[group.sequences, :, group.heads, max(first, 0) : last].permute(1, 0, 2, 3)
    rows = F.pad(rows, (max(-first, 0), max(last - x.shape[3], 0)))
    flat = rows.reshape(len(rows), -1)  # a copy in this order first makes the transposition fast
    padded = torch.zeros(flat.shape[1], size, dtype=exact, device=x.device)
    padded[:, : len(rows)] = flat.t().contiguous()
    return torch.fft.rfft(padded).view(*rows.shape[1:], -1)


def _mix(spectra: Tensor, kernels: Tensor) -> Tensor:
    """``Σ_i kernels[h, i] · spectra[b, h, c + i]`` for kernels (H', K, …), spectra of K − 1 more channels."""
    width = spectra.shape[2] - kernels.shape[1] + 1
    mixed = spectra[:, :, :width] * kernels[:, :1]
    for i in range(1, kernels.shape[1]):
        mixed.addcmul_(spectra[:, :, i : i + width], kernels[:, i : i + 1])
    return mixed


def _write(y: Tensor, group: Group, spectra: Tensor, size: int) -> None:
    """Into a group of y, the rows (B', H', D') of these spectra."""
    length = y.shape[1]
    rows = torch.fft.irfft(spectra.flatten(0, 2), size)[:, :length].contiguous()
    back = rows.t().contiguous().view(length, *spectra.shape[:3]).permute(1, 0, 2, 3)
    y[group.sequences, :, group.heads, group.channels] = back
