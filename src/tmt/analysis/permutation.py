"""Whether one set of trained models has lower values than another, or chance would do as well."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tmt.errors import InputError

SLACK = 1e-12
"""Share of the largest value by which equal statistics may differ after rounding."""


def permutation_test(
    a: ArrayLike,
    b: ArrayLike,
    seed: int,
    draws: int = 10_000,
    *,
    statistic: Callable[..., Any] = np.mean,
) -> float:
    """One-sided p-value of `a` being lower than `b`, with exchange inside each group only.

    Whatever differs between groups, such as the seed of a model's initialisation, is thereby held fixed.

    Args:
        a: (groups, members) values, e.g. abs(index) per seed and layer.
        b: (groups, members) values; the members may be more or fewer.
        seed: of the draws.
        draws: random exchanges.
        statistic: of an array over a tuple of axes, called with `axis=`, as np.mean and np.median are; the
            test is of its value for `a` less that for `b`.

    Returns:
        (1 + draws at least as low as what was seen) / (1 + draws), so never 0 (Phipson and Smyth, 2010).

    Raises:
        InputError: the shapes do not fit, or a value is not finite.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or not first.size or not second.size:
        raise InputError(
            f"a and b must be (groups, members) with equal groups, not {first.shape} and {second.shape}"
        )
    pooled, members = np.concatenate((first, second), axis=1), first.shape[1]
    if not np.isfinite(pooled).all():
        raise InputError("a permutation test needs finite values; leave out layers without an index")
    if draws < 1:
        raise InputError(f"draws={draws} must be at least 1")
    shuffled = np.random.default_rng(seed).permuted(np.tile(pooled, (draws, 1, 1)), axis=2)
    differences = _difference(shuffled, members, statistic)
    seen = _difference(pooled[None], members, statistic)
    return (1 + int((differences <= seen + SLACK * np.abs(pooled).max()).sum())) / (1 + draws)


def _difference(values: np.ndarray, members: int, statistic: Callable[..., Any]) -> np.ndarray:
    """(draws,) from (draws, groups, members of both)."""
    return statistic(values[..., :members], axis=(1, 2)) - statistic(values[..., members:], axis=(1, 2))
