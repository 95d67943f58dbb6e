"""Whether one set of trained models has lower values than another, or chance would do as well."""

import numpy as np
from numpy.typing import ArrayLike

from tmt.errors import InputError

SLACK = 1e-12
"""Share of the largest value by which equal differences may differ after rounding."""
MOST_PAIRS = 20
"""Pairs whose exchanges, two to the power of them, are all counted."""


def permutation_test(a: ArrayLike, b: ArrayLike) -> float:
    """One-sided p-value of `a` being lower than `b`: exact, with whole models exchanged inside their pairs.

    What was trained on its own is exchanged, nothing smaller: the layers of one model share its start and its
    data, and exchanged by themselves they find a difference where only models differ. A pair has the same
    seed, which is thereby held fixed. Of n pairs no p-value is below 2^−n (Fisher, 1935, section 21).

    Args:
        a: (pairs,) one figure a trained model, e.g. the mean abs(index) of its layers.
        b: (pairs,) the same of the models that they are compared with.

    Returns:
        the share of all 2^pairs exchanges whose mean of a less that of b is as low as what was seen.

    Raises:
        InputError: the shapes do not fit, a value is not finite, or there are more than 20 pairs.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise InputError(
            "a and b must hold one figure a trained model each (a mean over its layers, say), as many of one "
            f"as of the other, not {first.shape} and {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("a permutation test needs finite values; leave out models without an index")
    if first.size > MOST_PAIRS:
        raise InputError(f"{first.size} pairs have too many exchanges to count; give at most {MOST_PAIRS}")
    differences = first - second
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate((sums + difference, sums - difference))
    return float((sums <= differences.sum() + SLACK * np.abs(differences).sum()).mean())
