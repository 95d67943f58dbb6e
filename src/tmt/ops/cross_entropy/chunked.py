"""Cross-entropy of a linear head, a block of rows at a time.

Loss and gradients of a block come from the same logits, so nothing is recomputed; the blocks share one
buffer, so nothing of size N × V ever exists. The reference is
`torch.nn.functional.cross_entropy(F.linear(x, w), y)`, of ``c·tanh(logits / c)`` where a softcap c is given.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops.cross_entropy import fused
from tmt.ops.cross_entropy.softcap import softcapped
from tmt.ops.precision import at_least_float32

BLOCK_ELEMENTS = 2**20
"""Logits held at once (4 MB in float32: stays in cache)."""
LEAST_ROWS = 512
"""Rows of a block at least: every block adds to the whole gradient of the head."""


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100, softcap: float | None = None
) -> Tensor:
    """Mean negative log-likelihood (nats) of `targets` under ``softmax(x @ weight.T)``.

    Args:
        x: (N, D) hidden states; under autocast the products run in its dtype, the softmax in float32.
        weight: (V, D).
        targets: (N,) int64; `ignore_index` entries do not count.
        softcap: bound of the logits, above zero; None for none.

    Returns:
        Scalar float32, differentiable in `x` and `weight`; 0 when nothing counts.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _LinearCrossEntropy.apply(x, weight, targets, ignore_index, softcap, _compute_dtype(x))
    counted = targets != ignore_index
    return token_nll(x, weight, targets, ignore_index, softcap).sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def token_nll(
    x: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100, softcap: float | None = None
) -> Tensor:
    """Negative log-likelihood (nats) of every target: (N,) at least float32, 0 at `ignore_index`.

    Rows that do not count are not multiplied.
    """
    counted = (targets != ignore_index).nonzero()[:, 0]
    rows = _block_rows(weight)
    blocks = zip(x[counted].split(rows), targets[counted].split(rows), strict=True)
    parts = [_nll(F.linear(h, weight), y, softcap) for h, y in blocks]
    nll = at_least_float32(x.new_zeros(len(x)))
    return nll.index_copy(0, counted, torch.cat(parts)) if parts else nll


def _nll(logits: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """Of targets (N,) under logits (N, V): (N,), at least float32."""
    if fused.available(logits):
        wanted = at_least_float32(logits.gather(1, targets[:, None])[:, 0])
        return fused.log_sum_exp(logits, softcap) - softcapped(wanted, softcap)
    return F.cross_entropy(softcapped(at_least_float32(logits), softcap), targets, reduction="none")


class _LinearCrossEntropy(torch.autograd.Function):
    """Of softmax p and one-hot y, the gradients are (p − y) w and (p − y)ᵀ x over the number of rows.

    A softcap multiplies p − y by its slope.
    """

    @staticmethod
    def forward(ctx, x, weight, targets, ignore_index, softcap, dtype):
        counted = (targets != ignore_index)[:, None]
        h, head = x.to(dtype).masked_fill(~counted, 0), weight.to(dtype)
        columns, rows = targets[:, None] * counted, _block_rows(weight)
        logits_buffer, grad_x = head.new_empty(min(rows, len(h)), len(head)), torch.empty_like(h)
        grad_weight = at_least_float32(torch.zeros_like(weight))
        nll = grad_weight.new_empty(len(h), 1)
        with torch.autocast(x.device.type, enabled=False):
            for start in range(0, len(h), rows):
                block = slice(start, start + rows)
                logits = torch.mm(h[block], head.T, out=logits_buffer[: len(h[block])])
                nll[block] = into_gradient(logits, columns[block], softcap)
                torch.mm(logits, head, out=grad_x[block])
                grad_weight += logits.T @ h[block]
        count = counted.sum().clamp(min=1)
        ctx.save_for_backward(grad_x, grad_weight.to(weight.dtype), counted, count)
        return (nll * counted).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):  # pyrefly: ignore[bad-override]
        grad_x, grad_weight, counted, count = ctx.saved_tensors
        scale = grad_output / count
        return grad_x * (counted * scale), grad_weight * scale, None, None, None, None


def into_gradient(logits: Tensor, column: Tensor, softcap: float | None) -> Tensor:
    """Turn logits (N, V) into the gradient of the loss by them, in place.

    That is softmax − one-hot, times the slope of the softcap. Returns the nll of `column` (N, 1), at least
    float32.
    """
    if fused.available(logits):
        return fused.into_gradient(logits, column, softcap)
    capped = at_least_float32(logits)
    slope = None
    if softcap is not None:
        share = (capped / softcap).tanh_()
        capped, slope = share * softcap, share.square_().neg_().add_(1)
    log_p = capped.log_softmax(-1)
    nll = -log_p.gather(1, column)
    gradient = log_p.exp_().scatter_add_(1, column, log_p.new_full(column.shape, -1.0))
    logits.copy_(gradient if slope is None else gradient.mul_(slope))
    return nll


def _compute_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def _block_rows(weight: Tensor) -> int:
    return max(LEAST_ROWS, BLOCK_ELEMENTS // weight.shape[0])
