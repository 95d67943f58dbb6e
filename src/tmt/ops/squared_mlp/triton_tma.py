"""The same kernel for NVIDIA's Hopper and later: tiles move by tensor descriptors. Not measured on a GPU.

The copies between global and shared memory are asynchronous. As many programs as the GPU has processors
walk over the tiles, and each stores its tile in two halves, so that both fit beside the operands in shared
memory. Descriptors ask for rows of whole 16 bytes. Imported only where it is used, as Triton is optional.
"""

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from tmt.ops.squared_mlp.triton_units import square

ROWS, COLUMNS = 128, 256
"""Of a tile."""
STEP_BYTES = 128
"""Of a row of x or the weight that are multiplied at once: the widest that the copies can swizzle."""
LAUNCH: dict[str, Any] = {"num_warps": 8, "num_stages": 4}


def units_and_slopes(x: Tensor, weight: Tensor, slope: float) -> tuple[Tensor, Tensor]:
    """f and f′ of x (n, D) times weight (H, D), both (n, H) in the type of x; D and H of whole 16 bytes.

    The products are summed in float32 and rounded to that type before f is taken.
    """
    (rows, width), hidden = x.shape, len(weight)
    units = torch.empty((rows, hidden), dtype=x.dtype, device=x.device)
    slopes = torch.empty_like(units)
    if 0 in (rows, width, hidden):
        return units.zero_(), slopes.zero_()
    step, tiles = STEP_BYTES // x.element_size(), triton.cdiv(rows, ROWS) * triton.cdiv(hidden, COLUMNS)
    sources = _descriptor(x, ROWS, step), _descriptor(weight, COLUMNS, step)
    targets = _descriptor(units, ROWS, COLUMNS // 2), _descriptor(slopes, ROWS, COLUMNS // 2)
    with torch.cuda.device_of(x):
        grid = (min(tiles, _processors(x.device)),)
        multiply_persistently[grid](*sources, *targets, slope, rows, width, hidden, **LAUNCH)
    return units, slopes


@triton.jit
def multiply_persistently(x, weight, units, slopes, slope, rows, width, hidden):
    """Tiles of f and f′ of x (rows, width) times weight (hidden, width), all behind descriptors."""
    ROWS: tl.constexpr = x.block_shape[0]
    COLUMNS: tl.constexpr = weight.block_shape[0]
    STEP: tl.constexpr = x.block_shape[1]
    across = tl.cdiv(hidden, COLUMNS)
    for tile in range(tl.program_id(0), tl.cdiv(rows, ROWS) * across, tl.num_programs(0)):
        row, column = tile // across * ROWS, tile % across * COLUMNS
        sums = tl.zeros((ROWS, COLUMNS), tl.float32)
        for start in range(0, width, STEP):
            left, right = x.load([row, start]), weight.load([column, start])
            sums = tl.dot(left, right.T, sums, input_precision="ieee")
        halves = tl.split(tl.permute(tl.reshape(sums, (ROWS, 2, COLUMNS // 2)), (0, 2, 1)))
        for half in tl.static_range(2):
            unit, derivative = square(halves[half].to(x.dtype), slope)
            at = [row, column + half * (COLUMNS // 2)]
            units.store(at, unit.to(units.dtype))
            slopes.store(at, derivative.to(slopes.dtype))


def _descriptor(x: Tensor, rows: int, columns: int) -> TensorDescriptor:
    """Of a matrix that is read or written in blocks (rows, columns)."""
    x = x.contiguous()
    return TensorDescriptor.from_tensor(x if x.data_ptr() % 16 == 0 else x.clone(), [rows, columns])


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count
