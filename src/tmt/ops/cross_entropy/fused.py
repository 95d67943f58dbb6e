"""Cross-entropy of logits and its gradient by them, in C: one pass over memory instead of six."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("gradient.c")


def available(logits: Tensor) -> bool:
    """Whether logits (N, V) can be processed here: on a CPU with a C compiler."""
    return native.takes(logits, _SOURCE, **native.element(logits.dtype))


def into_gradient(logits: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """See :func:`tmt.ops.cross_entropy.chunked.into_gradient`."""
    targets, nll = targets.contiguous(), logits.new_empty(len(logits), 1, dtype=torch.float32)
    library = native.library(_SOURCE, **native.element(logits.dtype))
    tensors, sizes = map(pointer, (logits, targets, nll)), map(ctypes.c_int64, logits.shape)
    library.into_gradient(*tensors, *sizes, ctypes.c_float(softcap or 0.0), native.threads(len(logits)))
    return nll


def log_sum_exp(logits: Tensor, softcap: float | None) -> Tensor:
    """``log Σ exp`` (N,) float32 of the softcapped rows of logits (N, V)."""
    logits, result = logits.contiguous(), logits.new_empty(len(logits), dtype=torch.float32)
    library = native.library(_SOURCE, **native.element(logits.dtype))
    tensors, sizes = map(pointer, (logits, result)), map(ctypes.c_int64, logits.shape)
    library.log_sum_exp(*tensors, *sizes, ctypes.c_float(softcap or 0.0), native.threads(len(logits)))
    return result
