"""A causal Toeplitz kernel as numbers to analyse."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmt.errors import InputError

Taps = NDArray[np.float64]

NEGLIGIBLE = 1e-12
"""Share of the largest tap up to which a first tap counts as zero."""


def taps_of(kernel: ArrayLike) -> Taps:
    """A copy of the kernel as float64 (n,); InputError unless it is one row of finite numbers."""
    given: Any = np.asarray(kernel)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "fiu":
        raise InputError(f"a kernel is one row of real taps, not {given.dtype} of shape {given.shape}")
    taps = given.astype(np.float64)
    if not np.isfinite(taps).all():
        raise InputError(f"tap {int(np.argmin(np.isfinite(taps)))} of the kernel is not finite")
    return taps


def leading_zeros(taps: Taps) -> int:
    """How many taps come before the first that is not negligible; all of them where every tap is 0."""
    sizes = np.abs(taps)
    significant = np.flatnonzero(sizes > NEGLIGIBLE * sizes.max())
    return int(significant[0]) if significant.size else taps.size
