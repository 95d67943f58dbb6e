"""Where to clip the rows of a matrix, and what that costs in bytes.

A row is quantised to integers in [−R, R], R = 2^(b−1) − 1, with the scale s = k σ / R: it is clipped at k of
its standard deviations. The integers are then entropy-coded, so the width k, and not the number of bits b,
sets their size: for a normal row about ``log2(σ √(2πe) / s) = 2.047 − log2(k / R)`` bits each.
"""

import torch
from torch import Tensor

NARROWEST = 4.0
"""Below so many standard deviations clipping costs more than finer steps gain."""
COARSEST = 2.0
"""Standard deviations in a step beyond which hardly anything but zeros is left."""
_SMALLEST = 2.0**-24
"""The smallest float16 above zero, the scale of a row of zeros."""


def levels(bits: int) -> int:
    """R, the largest integer of `bits` bits whose negative is one too."""
    return 2 ** (bits - 1) - 1


def deviation_scales(weight: Tensor, bits: int, width: float) -> Tensor:
    """Scales (m,) float16 that clip the rows of a weight (m, n) at `width` standard deviations."""
    deviation = weight.double().std(1, correction=min(1, weight.shape[1] - 1))
    return (width * deviation / levels(bits)).clamp(_SMALLEST, torch.finfo(torch.float16).max).half()


def largest_scales(weight: Tensor, bits: int) -> Tensor:
    """Scales (m,) float16 that clip nothing: for rows of a few large numbers."""
    scales = weight.double().abs().amax(1) / levels(bits)
    return scales.clamp(_SMALLEST, torch.finfo(torch.float16).max).half()


def widest(bits: int) -> float:
    """The width at which a step is COARSEST standard deviations."""
    return COARSEST * levels(bits)


def entropy(bits: int, width: float) -> float:
    """Bits per weight of a normal row, clipped at `width` standard deviations and coded ideally."""
    top = levels(bits)
    edges = torch.arange(-top, top, dtype=torch.float64).add(0.5) * (width / top)
    below = torch.cat([edges.new_zeros(1), torch.special.ndtr(edges), edges.new_ones(1)])
    return float(torch.special.entr(below.diff()).sum() / torch.tensor(2.0).log())
