"""The operations of parts that may have been replaced."""

import math

from torch import nn


def flops_of(part: nn.Module, rows: int) -> float:
    """What a part says it costs for so many rows; NaN, "not counted", of one that says nothing."""
    count = getattr(part, "flops", None)
    return math.nan if count is None else count(rows)
