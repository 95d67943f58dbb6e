"""The product inside a SwiGLU in C; the readable form is ``F.silu(gate) * inner``.

Nothing but its two inputs is kept for the backward pass, where the readable form keeps the SiLU too.
"""

import ctypes
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("swiglu.c")
_PIECE = 2**14  # elements that one thread takes at a time


def available(x: Tensor) -> bool:
    """Whether rows (…, W) can be processed here: W in whole vectors, on a CPU with a C compiler."""
    return x.shape[-1] % 16 == 0 and native.takes(x, _SOURCE, **_defines(x))


def swiglu(gate: Tensor, inner: Tensor) -> Tensor:
    """``silu(gate) ⊙ inner`` of two tensors of one shape (…, W), float32 or bfloat16, as the result."""
    return _SwiGLU.apply(gate.contiguous(), inner.contiguous())


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, inner):
        y = torch.empty_like(gate)
        _library(y).forward(*map(pointer, (gate, inner, y)), *_sizes(y))
        ctx.save_for_backward(gate, inner)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        gate, inner = ctx.saved_tensors
        grad, grad_gate, grad_inner = grad.contiguous(), torch.empty_like(gate), torch.empty_like(inner)
        _library(grad).backward(*map(pointer, (grad, gate, inner, grad_gate, grad_inner)), *_sizes(grad))
        return grad_gate, grad_inner


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, int]:
    """Elements, and the threads that they keep busy."""
    return ctypes.c_int64(x.numel()), native.threads(x.numel() // _PIECE)


def _library(x: Tensor) -> ctypes.CDLL:
    return native.library(_SOURCE, **_defines(x))


def _defines(x: Tensor) -> dict[str, int]:
    return native.element(x.dtype)
