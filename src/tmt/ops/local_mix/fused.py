"""The mix of near tokens in C; the readable form is :class:`tmt.layers.feed_forward.LocalMix`."""

import ctypes
from collections.abc import Iterator
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


def local_mix(
    x: Tensor,
    tail: Tensor,
    weight: Tensor,
    index: Tensor | None = None,
    norm: tuple[Tensor, float] | None = None,
) -> Tensor:
    """``Σ_d weight_d ⊙ x_{t−d}`` (n, D) of the tokens asked for, in the type of `x`; see local_mix.c.

    Args:
        x: (B, T, D) float32 or bfloat16.
        tail: (B, W − 1, D), the tokens before, in the type of `x`.
        weight: (W, D).
        index: (n,) int64 ascending rows b·T + t; None for all of them.
        norm: gain (D,) and epsilon of an RMS normalisation of the mix, which is not kept; None for none.
    """
    index = None if index is None else index.contiguous()
    gain, eps = (None, 0.0) if norm is None else (norm[0].float(), norm[1])
    return _LocalMix.apply(x.contiguous(), tail.contiguous(), weight.float(), gain, index, eps)


class _LocalMix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, tail, weight, gain, index, eps):
        batch, length, width = x.shape
        count = batch * length if index is None else len(index)
        y, scale = x.new_empty(count, width), None if gain is None else weight.new_empty(count)
        tensors, sizes = map(pointer, (x, tail, weight, gain, index, y, scale)), _sizes(count, length)
        library = native.library(_SOURCE, **_defines(x, weight))
        library.forward(*tensors, *sizes, ctypes.c_float(eps), _threads(count))
        ctx.save_for_backward(x, tail, weight, gain, index, scale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        x, tail, weight, gain, index, scale = ctx.saved_tensors
        library = native.library(_SOURCE, **_defines(x, weight))
        grad, place, grad_gain = grad.contiguous(), None, None
        if gain is not None:
            grad_mix, sums = torch.empty_like(grad), gain.new_empty(_pieces(len(grad)), len(gain))
            tensors = map(pointer, (grad, x, tail, weight, gain, index, scale, grad_mix, sums))
            library.before_norm(*tensors, *_sizes(len(grad), x.shape[1]), _threads(len(grad)))
            grad, grad_gain = grad_mix, sums.sum(0)
        if index is not None:
            place = index.new_full(x.shape[:2], -1, dtype=torch.int32)
            place.view(-1)[index] = torch.arange(len(index), dtype=torch.int32)
        read = x.shape[0] * (tail.shape[1] + x.shape[1])
        grad_x, grad_tail = torch.empty_like(x), torch.empty_like(tail)
        grad_weight = weight.new_empty(_pieces(read), *weight.shape)
        tensors = map(pointer, (grad, x, tail, weight, place, grad_x, grad_tail, grad_weight))
        library.backward(*tensors, *_sizes(*x.shape[:2]), _threads(read))
        return grad_x, grad_tail, grad_weight.sum(0), grad_gain, None, None


def _sizes(*numbers: int) -> Iterator[ctypes.c_int64]:
    return map(ctypes.c_int64, numbers)


def _pieces(tokens: int) -> int:
    return -(-tokens // _PIECE)


def _threads(tokens: int) -> int:
    return native.threads(_pieces(tokens))


def _defines(x: Tensor, weight: Tensor) -> dict[str, int]:
    return {"WIDTH": x.shape[-1], "TAPS": len(weight), "PIECE": _PIECE, **native.element(x.dtype)}
