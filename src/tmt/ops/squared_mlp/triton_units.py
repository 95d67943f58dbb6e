"""Triton kernel of the hidden units and their slopes, for any GPU and any shape. Not measured on a GPU.

Never imported by the package itself, because Triton is optional: whoever has tensors on a GPU imports it.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILES = [
    triton.Config({"ROWS": rows, "COLUMNS": columns, "STEP": 64}, num_warps=warps, num_stages=3)
    for rows, columns, warps in ((64, 64, 4), (64, 128, 4), (128, 64, 4), (128, 128, 8))
]


def units_and_slopes(x: Tensor, weight: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """f and f′ of x (n, D) times weight (H, D), both (n, H) in the type of x.

    The products are summed in float32 and rounded to that type before f is taken, as those of a linear
    layer are.
    """
    (rows, width), hidden = x.shape, len(weight)
    units = torch.empty((rows, hidden), dtype=x.dtype, device=x.device)
    slopes = torch.empty_like(units)

    def grid(tile: dict[str, int]) -> tuple[Any]:
        return (triton.cdiv(rows, tile["ROWS"]) * triton.cdiv(hidden, tile["COLUMNS"]),)

    with torch.cuda.device_of(x):
        multiply[grid](x.contiguous(), weight.contiguous(), units, slopes, slope, rows, width, hidden)
    return units, slopes


@triton.autotune(TILES, key=["width", "hidden"])
@triton.jit
def multiply(
    x, weight, units, slopes, slope, rows, width, hidden,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """A tile of f and f′ of x (rows, width) times weight (hidden, width); a program for each tile."""
    across = tl.cdiv(hidden, COLUMNS)
    row = (tl.program_id(0) // across * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = (tl.program_id(0) % across * COLUMNS + tl.arange(0, COLUMNS)).to(tl.int64)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, width, STEP):
        inner = start + tl.arange(0, STEP)
        left = tl.load(x + row * width + inner[None, :], (row < rows) & (inner < width)[None, :], 0.0)
        at = column[None, :] * width + inner[:, None]
        right = tl.load(weight + at, (column < hidden)[None, :] & (inner < width)[:, None], 0.0)
        sums = tl.dot(left, right, sums, input_precision="ieee")
    unit, derivative = square(sums.to(x.dtype.element_ty), slope)
    at, valid = row * hidden + column[None, :], (row < rows) & (column < hidden)[None, :]
    tl.store(units + at, unit.to(units.dtype.element_ty), valid)
    tl.store(slopes + at, derivative.to(slopes.dtype.element_ty), valid)


@triton.jit
def square(products, slope):
    """f and f′ of products, in float32."""
    c = products.to(tl.float32)
    leak = tl.where(c > 0, 1.0, slope)
    leaky = leak * c
    return leaky * leaky, 2 * leak * leaky
