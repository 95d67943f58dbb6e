"""``x Wᵀ + b`` for a few rows in C, on all threads; :func:`torch.nn.functional.linear` says the same."""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native

MAX_ROWS = 8
"""Beyond these a product is bound by arithmetic, at which PyTorch is better."""
_SOURCE = Path(__file__).with_name("linear.c")
_SHARE = 1 << 15  # weights that are worth a thread


def available(x: Tensor, weight: Tensor) -> bool:
    """Whether rows x (…, K) times weight (M, K) can be computed here.

    That takes at most 8 rows on a CPU with a C compiler, one type (float32 or bfloat16), and no gradient,
    autocast or `torch.compile` at work.
    """
    if torch.is_grad_enabled() and (weight.requires_grad or x.requires_grad):
        return False
    return (
        0 < x.numel() <= MAX_ROWS * weight.shape[1]
        and x.shape[-1] == weight.shape[1]
        and x.dtype == weight.dtype
        and x.is_cpu
        and weight.is_cpu
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _kernel(x.dtype) is not None
    )


def few_rows(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Rows x (…, K) times a contiguous weight (M, K), plus bias (M,), to (…, M); see linear.c."""
    kernel = _kernel(x.dtype)
    if kernel is None:
        raise RuntimeError(f"no compiled product of {x.dtype} rows; ask `available` first")
    outputs, width = weight.shape
    y = x.new_empty(*x.shape[:-1], outputs)
    x = x.float().contiguous()
    bias = None if bias is None else bias.to(y.dtype).contiguous()
    addresses = (x.data_ptr(), weight.data_ptr(), None if bias is None else bias.data_ptr(), y.data_ptr())
    threads = native.threads(weight.numel() // _SHARE)
    kernel(*addresses, x.numel() // width, outputs, width, threads)
    return y


@cache
def _kernel(dtype: torch.dtype) -> Callable[..., None] | None:
    """The C function with the types of its arguments, so that a call passes plain integers."""
    if dtype not in native.ELEMENTS:
        return None
    library = native.load(_SOURCE, **native.element(dtype))
    if library is None:
        return None
    kernel = library.few_rows
    kernel.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 3 + [ctypes.c_int]
    kernel.restype = None
    return kernel
