"""A product with what another operation gives, which is computed again for the backward pass, not kept.

Going back, that operation reads its inputs anyway, and its value is one more tensor to write; kept, the
value is the widest tensor of a feed-forward layer. ``F.linear(op.value(*inputs), weight)`` says the same.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class Op(Protocol):
    """An operation on rows that knows its gradients."""

    @property
    def value(self) -> Callable[..., Tensor]:
        """Of the inputs, rows (n, K)."""
        ...

    @property
    def gradients(self) -> Callable[..., tuple[Tensor, ...]]:
        """Of the gradient of the value (n, K) and the inputs: the gradients of these, and the value."""
        ...


def of_op(op: Op, inputs: tuple[Tensor, ...], weight: Tensor) -> Tensor:
    """Rows (n, K) of `op` times weight (M, K), in the type of the rows."""
    return _OfOp.apply(op, weight.to(inputs[0].dtype), *inputs)


class _OfOp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, op, weight, *inputs):
        ctx.op = op
        ctx.save_for_backward(weight, *inputs)
        return F.linear(op.value(*inputs), weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        weight, *inputs = ctx.saved_tensors
        *gradients, value = ctx.op.gradients(grad @ weight, *inputs)
        return None, grad.mT @ value if ctx.needs_input_grad[1] else None, *gradients
