"""GELU scaled by a gate per row, in C; the readable form is ``gate[:, None] * F.gelu(x)``."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("gelu.c")
_PIECE = 32  # rows that one thread takes at a time


def available(x: Tensor) -> bool:
    """Whether rows (n, W) can be processed here: W in whole vectors, on a CPU with a C compiler."""
    return x.shape[-1] % 16 == 0 and native.takes(x, _SOURCE, **_defines(x))


def value(x: Tensor, gate: Tensor) -> Tensor:
    """``gate · GELU(x)`` for rows x (n, W) float32 or bfloat16, as the result, and gate (n,) float32."""
    x, gate = x.contiguous(), gate.contiguous()
    y = torch.empty_like(x)
    _library(x).forward(*map(pointer, (x, gate, y)), *_sizes(x))
    return y


def gradients(grad: Tensor, x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x and of the gate for that of the value, and the value."""
    grad, x, gate = grad.contiguous(), x.contiguous(), gate.contiguous()
    grad_x, grad_gate, y = torch.empty_like(x), torch.empty_like(gate), torch.empty_like(x)
    _library(x).backward(*map(pointer, (grad, x, gate, grad_x, grad_gate, y)), *_sizes(x))
    return grad_x, grad_gate, y


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64, int]:
    """Rows, their width, and the threads that they keep busy."""
    rows, width = x.shape
    return ctypes.c_int64(rows), ctypes.c_int64(width), native.threads(rows // _PIECE)


def _library(x: Tensor) -> ctypes.CDLL:
    return native.library(_SOURCE, **_defines(x))


def _defines(x: Tensor) -> dict[str, int]:
    return {"PIECE": _PIECE, **native.element(x.dtype)}
