"""The product as matrix products of blocks of rows with what precedes them: half of the dense arithmetic.

All of them are slices of one slab of `BLOCK` rows, and a kernel of N taps reaches back N steps and no
further. bfloat16 stays bfloat16 in the products, which sum in float32, where the device has such. No finite
later value has any effect; a NaN or infinity reaches back to the beginning of its block.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt import machine
from tmt.ops.precision import at_least_float32
from tmt.ops.toeplitz.reference import channel_sum

BLOCK = 128
"""Rows of a product."""
GRADIENT_BLOCK = 256
"""Rows of a product for the gradient of the kernel, where they are then added up in float32."""


def toeplitz(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, S, H, D) in the type of x, of a kernel with at most S taps."""
    products = _Products.apply(x, kernel)
    if kernel.shape[1] == 1:
        return products[:, :, :, 0].contiguous()
    return channel_sum(at_least_float32(products)).to(x.dtype)


def spans(length: int, taps: int, block: int) -> Iterator[tuple[slice, slice, slice]]:
    """For every block: its rows, the rows that they read, and the columns of the slab for these."""
    for start in range(0, length, block):
        end, first = min(start + block, length), start - taps + 1
        yield slice(start, end), slice(max(first, 0), end), slice(max(-first, 0), end - first)


class _Products(torch.autograd.Function):
    """x (B, S, H, D) and kernel (H, K, N) to (B, S, H, K, D)."""

    @staticmethod
    def forward(ctx, x, kernel):
        ctx.save_for_backward(x, kernel)
        rows = _rows(x[:, :, :, None])[:, 0]
        y = _product(rows, kernel.to(rows.dtype))
        return y.unflatten(-1, (len(x), -1)).permute(3, 2, 0, 1, 4).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        x, kernel = ctx.saved_tensors
        for_x, for_kernel = ctx.needs_input_grad
        with torch.autocast(x.device.type, enabled=False):
            grads = _rows(grad)
            grad_x = _gradient_of_x(grads, x, kernel) if for_x else None
            return grad_x, _gradient_of_kernel(grads, x, kernel) if for_kernel else None


def _rows(x: Tensor) -> Tensor:
    """(B, S, H, K, D) to (H, K, S, B·D), in a type whose matrix products sum in at least float32."""
    rows = x.permute(2, 3, 1, 0, 4).flatten(3)
    native = x.dtype == torch.bfloat16 and machine.multiplies_bf16(x.device)
    return rows if native else at_least_float32(rows)


def _product(x: Tensor, kernel: Tensor) -> Tensor:
    """(H, K, S, R) of x (H, S, R) and kernel (H, K, N)."""
    (heads, shifts, taps), (length, width) = kernel.shape, x.shape[1:]
    slab = _slab(kernel, min(BLOCK, length))
    y = x.new_empty(heads, shifts, length, width)
    for rows, past, columns in spans(length, taps, BLOCK):
        matrix = slab[:, :, : rows.stop - rows.start, columns].flatten(1, 2)
        y[:, :, rows] = (matrix @ x[:, past]).unflatten(1, (shifts, -1))
    return y


def _gradient_of_x(grads: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """The transpose of the product is the product backwards in time."""
    heads, shifts = kernel.shape[:2]
    backwards = grads.flatten(0, 1).flip(1)
    found = _product(backwards, kernel.to(grads.dtype).flatten(0, 1)[:, None])[:, 0].flip(1)
    total = found if shifts == 1 else at_least_float32(found).unflatten(0, (heads, shifts)).sum(1)
    return total.unflatten(-1, (len(x), -1)).permute(2, 1, 0, 3).to(x.dtype)


def _gradient_of_kernel(grads: Tensor, x: Tensor, kernel: Tensor) -> Tensor:
    """Products of every row's gradient with the rows that it read, added up where their lag is the same."""
    (heads, shifts, taps), length = kernel.shape, x.shape[1]
    inputs, block = _rows(x[:, :, :, None])[:, 0], min(GRADIENT_BLOCK, length)
    total = at_least_float32(x.new_zeros(heads, shifts, block, block + taps - 1))
    for rows, past, columns in spans(length, taps, GRADIENT_BLOCK):
        products = grads[:, :, rows].flatten(1, 2) @ inputs[:, past].mT
        total[:, :, : rows.stop - rows.start, columns] += products.unflatten(1, (shifts, -1))
    return _sum_lags(total, taps).to(kernel.dtype)


def _slab(kernel: Tensor, block: int) -> Tensor:
    """(H, K, block, block + N − 1): entry (r, q) is the tap r + N − 1 − q, zero where there is none."""
    padded = F.pad(kernel.flip(-1), (block - 1, block - 1))
    return padded.unfold(-1, block + kernel.shape[-1] - 1, 1).flip(-2)


def _sum_lags(slab: Tensor, taps: int) -> Tensor:
    """(H, K, taps) sums of the entries where :func:`_slab` has the same tap."""
    block, width = slab.shape[-2:]
    skewed = F.pad(slab.flip(-2), (0, block)).flatten(-2)[..., :-block].unflatten(-1, (block, -1))
    return skewed.sum(-2)[..., block - 1 : width].flip(-1)
