"""How hard the finite matrix of a causal Toeplitz kernel is to invert."""

from math import log10

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from tmt.analysis.kernel import Taps, leading_zeros, taps_of
from tmt.analysis.winding import largest_modulus
from tmt.errors import InputError

RESCALE = 1e100
"""Size at which the inverse kernel is scaled down; its squares must not overflow."""
LARGEST_MATRIX = 1024
"""Rows up to which singular values are computed."""
SMALL = 1e-6
"""Share of the largest singular value below which one counts as small."""


def log10_condition(kernel: ArrayLike, size: int) -> tuple[float, float] | None:
    """log10 of a lower and an upper bound of the 2-norm condition number of the (size, size) matrix.

    The inverse is the Toeplitz matrix of the inverse kernel v, so ‖v‖₂ ‖w‖₂ ≤ cond ≤ ‖v‖₁ max abs(a), with
    kernel and inverse cut to `size` taps. Unlike singular values these do not saturate near 1e16.

    Args:
        kernel: (n,); taps beyond its end are zero.
        size: rows of the matrix.

    Returns:
        (lower, upper), or None where the first tap is negligible and the matrix has no inverse.

    Raises:
        InputError: the kernel is not one row of finite numbers.
    """
    taps = taps_of(kernel)[:size]
    if leading_zeros(taps):
        return None
    taps /= taps[0]
    inverse, exponent = _inverse(taps, size)
    lower = np.linalg.norm(inverse) * np.linalg.norm(taps)
    upper = np.abs(inverse).sum() * largest_modulus(taps)
    return exponent + log10(lower), exponent + log10(upper)


def singular_values(kernel: ArrayLike, size: int) -> NDArray[np.float64]:
    """Singular values (size,), largest first, of the (size, size) matrix of a kernel (n,).

    With its columns in reverse order the matrix is symmetric, so they are the moduli of its eigenvalues.

    Raises:
        InputError: `size` is beyond 1024, or the kernel is not one row of finite numbers.
    """
    if size > LARGEST_MATRIX:
        raise InputError(f"singular values of {size} rows take too long; at most {LARGEST_MATRIX}")
    taps = taps_of(kernel)[:size]
    padded = np.zeros(2 * size - 1)
    padded[size - 1 : size - 1 + taps.size] = taps
    return np.sort(np.abs(np.linalg.eigvalsh(sliding_window_view(padded, size))))[::-1]


def small_singular_values(kernel: ArrayLike, size: int) -> int:
    """How many singular values are below 1e-6 of the largest, all of them for a zero kernel.

    The rank at that tolerance is `size` less this.

    Raises:
        InputError: as :func:`singular_values`.
    """
    values = singular_values(kernel, size)
    return int((values < SMALL * values[0]).sum()) if values[0] else size


def _inverse(taps: Taps, size: int) -> tuple[Taps, float]:
    """Inverse kernel (size,) of taps that start with 1, as numbers and the power of ten they are to be times.

    Entries that are 1e300 below the largest may be lost.
    """
    inverse, exponent = np.zeros(size), 0.0
    inverse[0] = 1
    for k in range(1, size):
        past = min(k, taps.size - 1)
        inverse[k] = -taps[1 : past + 1] @ inverse[k - past : k][::-1]
        if abs(inverse[k]) > RESCALE:
            inverse /= RESCALE
            exponent += log10(RESCALE)
    return inverse, exponent
