"""How a cost grows with length: the exponent p of ``cost ∝ length^p``."""

from collections.abc import Sequence
from math import log
from statistics import linear_regression


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> float | None:
    """Least-squares slope of log cost over log length; None for fewer than two lengths or a cost of 0."""
    if len(set(lengths)) < 2 or min(costs) <= 0:
        return None
    return linear_regression([log(length) for length in lengths], [log(cost) for cost in costs]).slope
