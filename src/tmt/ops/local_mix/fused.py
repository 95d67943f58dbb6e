"""The mix of near tokens in C; the readable form is :class:`tmt.layers.feed_forward.LocalMix`."""

import ctypes
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops import native
from tmt.ops.native import pointer

_SOURCE = Path(__file__).with_name("local_mix.c")
_PIECE = 128  # tokens that share one partial sum of the weight's gradient


def available(x: Tensor, weight: Tensor) -> bool:
    """Whether (…, D) can be mixed here: D in whole vectors, on a CPU with a C compiler."""
    return x.shape[-1] % 16 == 0 and native.takes(x, _SOURCE, **_defines(x, weight))


def local_mix(x: Tensor, tail: Tensor, weight: Tensor, index: Tensor | None = None) -> Tensor:
    """``Σ_d weight_d ⊙ x_{t−d}`` (n, D) of the tokens asked for, in the type of `x`; see local_mix.c.

    Args:
        x: (B, T, D) float32 or bfloat16.
        tail: (B, W − 1, D), the tokens before, in the type of `x`.
        weight: (W, D).
        index: (n,) int64 ascending rows b·T + t; None for all of them.
    """
    index = None if index is None else index.contiguous()
    return _LocalMix.apply(x.contiguous(), tail.contiguous(), weight.float(), index)


class _LocalMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, tail, weight, index):
        batch, length, width = x.shape
        count = batch * length if index is None else len(index)
        y = x.new_empty(count, width)
        sizes = map(ctypes.c_int64, (count, length))
        library = native.library(_SOURCE, **_defines(x, weight))
        library.forward(*map(pointer, (x, tail, weight, index, y)), *sizes, _threads(count))
        ctx.save_for_backward(x, tail, weight, index)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        x, tail, weight, index = ctx.saved_tensors
        grad, place = grad.contiguous(), None
        if index is not None:
            place = index.new_full(x.shape[:2], -1, dtype=torch.int32)
            place.view(-1)[index] = torch.arange(len(index), dtype=torch.int32)
        read = x.shape[0] * (tail.shape[1] + x.shape[1])
        grad_x, grad_tail = torch.empty_like(x), torch.empty_like(tail)
        grad_weight = weight.new_empty(-(-read // _PIECE), *weight.shape)
        tensors = map(pointer, (grad, x, tail, weight, place, grad_x, grad_tail, grad_weight))
        sizes = map(ctypes.c_int64, x.shape[:2])
        library = native.library(_SOURCE, **_defines(x, weight))
        library.backward(*tensors, *sizes, _threads(read))
        return grad_x, grad_tail, grad_weight.sum(0), None


def _threads(tokens: int) -> int:
    return native.threads(-(-tokens // _PIECE))


def _defines(x: Tensor, weight: Tensor) -> dict[str, int]:
    return {"WIDTH": x.shape[-1], "TAPS": len(weight), "PIECE": _PIECE, **native.element(x.dtype)}
