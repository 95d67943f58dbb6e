"""The zeros of a short symbol themselves, beside the winding number that counts them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tmt.analysis.kernel import Taps, leading_zeros, taps_of
from tmt.analysis.winding import symbol_index
from tmt.errors import InputError

MOST_TAPS = 256
DISTANCES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.3)
"""From the unit circle, of the circles on which a proof is tried that no zero lies there."""


@dataclass(frozen=True)
class RootCount:
    """Where the zeros of a symbol lie."""

    inside: int
    """Zeros with abs(z) < 1, those at the origin included, as the companion matrix has them."""
    near: int
    """Zeros between the nearest circles of either side that are proven free of them: so much may `inside` be
    wrong at most. Where zeros crowd, computed ones lie far from them, and so do these circles."""


def count_roots(kernel: ArrayLike) -> RootCount:
    """Zeros of Σ w[k] z^k for a kernel (n,) of at most 256 taps, from the companion matrix.

    Raises:
        InputError: the kernel is longer, is zero, or is not one row of finite numbers.
    """
    taps = taps_of(kernel)
    if taps.size > MOST_TAPS:
        raise InputError(f"a kernel of {taps.size} taps is too long for its roots; at most {MOST_TAPS}")
    leading = leading_zeros(taps)
    if leading == taps.size:
        raise InputError("a kernel of zeros has no roots to count; its symbol vanishes everywhere")
    taps = np.trim_zeros(taps[leading:], "b")
    if abs(taps[0]) > abs(taps[-1]):  # the better scaled companion matrix is that of the larger end
        with np.errstate(divide="ignore"):  # of a last tap that is nothing beside the others
            sizes = 1 / np.abs(np.roots(taps))
    else:
        sizes = np.abs(np.roots(taps[::-1]))
    inside = leading + int((sizes < 1).sum())
    fewest = leading + _proven(taps, [1 - distance for distance in DISTANCES], otherwise=0)
    most = leading + _proven(taps, [1 + distance for distance in DISTANCES], otherwise=taps.size - 1)
    return RootCount(inside, max(most, inside) - min(fewest, inside))


def _proven(taps: Taps, radii: list[float], otherwise: int) -> int:
    """Zeros inside the first circle on which a proof succeeds that none lies there."""
    orders = np.arange(taps.size)
    counts = (symbol_index(taps * radius**orders).zeros_inside for radius in radii)
    return next((count for count in counts if count is not None), otherwise)
