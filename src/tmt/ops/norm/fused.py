"""RMS normalisation and rotation of rows in C; the readable form is :class:`tmt.layers.norm.RMSNorm`."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("norm.c")
_PIECE = 128  # rows that share one partial sum of the gain's gradient


def available(x: Tensor) -> bool:
    """Whether rows (…, W) can be processed here: W in whole vectors, on a CPU with a C compiler."""
    return x.shape[-1] % 32 == 0 and native.takes(x, _SOURCE, **_defines(x))


def rms_norm(x: Tensor, gain: Tensor, eps: float, rotation: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Normalise rows of x (…, W) and multiply them by `gain` (W,); see norm.c.

    Args:
        x: (n, H, W) with a rotation, else (…, W); float32 or bfloat16, as the result.
        gain: (W,).
        eps: added to the mean square.
        rotation: cosines and sines (n, W / 2) float32.
    """
    cos, sin = (None, None) if rotation is None else rotation
    return _RMSNorm.apply(x.contiguous(), gain.float(), cos, sin, eps)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gain, cos, sin, eps):
        y, scale = torch.empty_like(x), x.new_empty(x.shape[:-1], dtype=torch.float32)
        tensors = map(pointer, (x, gain, cos, sin, y, scale))
        library = native.library(_SOURCE, **_defines(x))
        library.forward(*tensors, *_sizes(x), ctypes.c_float(eps), native.threads(_pieces(scale)))
        ctx.save_for_backward(x, gain, cos, sin, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        x, gain, cos, sin, scale = ctx.saved_tensors
        grad, grad_x = grad.contiguous(), torch.empty_like(x)
        grad_gain = gain.new_empty(_pieces(scale), len(gain))
        tensors = map(pointer, (grad, x, gain, cos, sin, scale, grad_x, grad_gain))
        library = native.library(_SOURCE, **_defines(x))
        library.backward(*tensors, *_sizes(x), native.threads(_pieces(scale)))
        return grad_x, grad_gain.sum(0), None, None, None


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    """Rows, and how many of them share a position."""
    return ctypes.c_int64(x.numel() // x.shape[-1]), ctypes.c_int64(x.shape[-2])


def _pieces(rows: Tensor) -> int:
    return -(-rows.numel() // _PIECE)


def _defines(x: Tensor) -> dict[str, int]:
    return {"WIDTH": x.shape[-1], "PIECE": _PIECE, **native.element(x.dtype)}
