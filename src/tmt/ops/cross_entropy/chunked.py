"""Cross-entropy of a linear head, a block of rows at a time.

Loss and gradients of a block come from the same logits, so nothing is recomputed and nothing of size
N × V outlives its block. The reference is `torch.nn.functional.cross_entropy(F.linear(x, w), y)`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops.precision import at_least_float32

BLOCK_ELEMENTS = 2**21
"""Logits held at once (8 MB in float32: stays in cache)."""


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Mean negative log-likelihood (nats) of `targets` under ``softmax(x @ weight.T)``.

    Args:
        x: (N, D) hidden states; under autocast the products run in its dtype, the softmax in float32.
        weight: (V, D).
        targets: (N,) int64; `ignore_index` entries do not count.

    Returns:
        Scalar float32, differentiable in `x` and `weight`; 0 when nothing counts.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _LinearCrossEntropy.apply(x, weight, targets, ignore_index, _compute_dtype(x))
    counted = targets != ignore_index
    return token_nll(x, weight, targets, ignore_index).sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def token_nll(x: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Negative log-likelihood (nats) of every target: (N,) at least float32, 0 at `ignore_index`."""
    rows = _block_rows(weight)
    blocks = zip(x.split(rows), targets.split(rows), strict=True)
    parts = [
        F.cross_entropy(at_least_float32(F.linear(h, weight)), y, reduction="none", ignore_index=ignore_index)
        for h, y in blocks
    ]
    return torch.cat(parts)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, targets, ignore_index, dtype):
        head, rows = weight.to(dtype), _block_rows(weight)
        count = (targets != ignore_index).sum().clamp(min=1)
        total = at_least_float32(x.new_zeros(()))
        grad_x = torch.empty_like(x)
        grad_weight = at_least_float32(torch.zeros_like(weight))
        with torch.autocast(x.device.type, enabled=False):
            for start in range(0, x.shape[0], rows):
                block = slice(start, start + rows)
                h, target = x[block].to(dtype), targets[block]
                counted = target != ignore_index
                column = target.clamp(min=0)[:, None]
                log_p = at_least_float32(h @ head.T).log_softmax(-1)
                total -= (log_p.gather(1, column)[:, 0] * counted).sum()
                grad = log_p.exp_()
                grad.scatter_add_(1, column, grad.new_full(column.shape, -1.0))
                grad = grad.mul_(counted[:, None]).div_(count).to(dtype)
                grad_x[block] = (grad @ head).to(x.dtype)
                grad_weight += grad.T @ h
        ctx.save_for_backward(grad_x, grad_weight.to(weight.dtype))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):  # pyrefly: ignore[bad-override]
        grad_x, grad_weight = ctx.saved_tensors
        return grad_x * grad_output.to(grad_x.dtype), grad_weight * grad_output, None, None, None


def _compute_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _block_rows(weight: Tensor) -> int:
    return max(256, BLOCK_ELEMENTS // weight.shape[0])
