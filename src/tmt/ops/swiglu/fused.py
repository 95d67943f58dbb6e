"""The product inside a SwiGLU in C; the readable form is ``F.silu(gate) * inner``."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("swiglu.c")
_PIECE = 2**14  # elements that one thread takes at a time


def available(x: Tensor) -> bool:
    """Whether rows (…, W) can be processed here: W in whole vectors, on a CPU with a C compiler."""
    return x.shape[-1] % 16 == 0 and native.takes(x, _SOURCE, **_defines(x))


def value(gate: Tensor, inner: Tensor) -> Tensor:
    """``silu(gate) ⊙ inner`` of two tensors of one shape (…, W), float32 or bfloat16, as the result."""
    gate, inner = gate.contiguous(), inner.contiguous()
    y = torch.empty_like(gate)
    _library(y).forward(*map(pointer, (gate, inner, y)), *_sizes(y))
    return y


def gradients(grad: Tensor, gate: Tensor, inner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of both factors for that of the value, and the value."""
    grad, gate, inner = grad.contiguous(), gate.contiguous(), inner.contiguous()
    grad_gate, grad_inner, y = (torch.empty_like(gate) for _ in range(3))
    _library(y).backward(*map(pointer, (grad, gate, inner, grad_gate, grad_inner, y)), *_sizes(y))
    return grad_gate, grad_inner, y


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, int]:
    """Elements, and the threads that they keep busy."""
    return ctypes.c_int64(x.numel()), native.threads(x.numel() // _PIECE)


def _library(x: Tensor) -> ctypes.CDLL:
    return native.library(_SOURCE, **_defines(x))


def _defines(x: Tensor) -> dict[str, int]:
    return native.element(x.dtype)
