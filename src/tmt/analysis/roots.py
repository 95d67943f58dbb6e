"""The zeros of a short symbol themselves, beside the winding number that counts them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tmt.analysis.kernel import leading_zeros, taps_of
from tmt.errors import InputError

MOST_TAPS = 256
NEAR = 1e-6
"""Distance from the unit circle within which a computed root may be on either side."""


@dataclass(frozen=True)
class RootCount:
    """Where the zeros of a symbol lie."""

    inside: int
    """Zeros with abs(z) < 1, those at the origin included."""
    near: int
    """Zeros, of either side, within 1e-6 of the circle: so much may `inside` be wrong."""


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
        sizes = 1 / np.abs(np.roots(taps))
    else:
        sizes = np.abs(np.roots(taps[::-1]))
    return RootCount(leading + int((sizes < 1).sum()), int((np.abs(sizes - 1) < NEAR).sum()))
