"""The smallest state that a kernel fits into."""

from torch import Tensor

from tmt.convert.hankel import fit_exponentials
from tmt.convert.spectrum import hankel_eigen
from tmt.errors import InputError


def rank_needed(
    kernel: Tensor, head: int, tolerance: float, max_radius: float = 1 - 1e-4, largest: int = 128
) -> int | None:
    """Smallest rank whose :func:`~tmt.convert.hankel.fit_exponentials` has ``relative_l1 ≤ tolerance``.

    Ranks that the Hankel matrix rules out are not fitted. Of the others, ranks are doubled until one is
    enough and then bisected, which takes the error for falling with the rank.

    Args:
        kernel: (n,) taps.
        head: taps kept as they are.
        tolerance: largest ``‖e‖₁`` as a share of the kernel's 1-norm, above 0.
        max_radius: largest ``|λ|``.
        largest: highest rank tried.

    Returns:
        the rank, or None where none is both enough and useful: from half the taps behind the head on, a
        state of complex numbers is no smaller than the window of inputs that it replaces.

    Raises:
        InputError: as `fit_exponentials`, and if the tolerance is not above 0.
    """
    if not tolerance > 0:
        raise InputError(f"tolerance is {tolerance}; give the share of the kernel that may be lost, above 0")

    def enough(rank: int) -> bool:
        return fit_exponentials(kernel, rank, head, max_radius).relative_l1 <= tolerance

    without_tail = fit_exponentials(kernel, 0, head, max_radius)
    if without_tail.relative_l1 <= tolerance:
        return 0
    largest = min(largest, (len(kernel) - head) // 2)
    failed = _ruled_out(without_tail.target, head, tolerance, largest)
    if failed >= largest:
        return None
    rank = failed + 1
    while not enough(rank):
        if rank == largest:
            return None
        failed, rank = rank, min(2 * rank, largest)
    while rank - failed > 1:
        middle = (failed + rank) // 2
        failed, rank = (failed, middle) if enough(middle) else (middle, rank)
    return rank


def _ruled_out(taps: Tensor, head: int, tolerance: float, largest: int) -> int:
    """Highest rank up to `largest` of which no tail is within the tolerance.

    The error's 1-norm is at least the Hankel matrix's distance from one of rank 2r, which is the
    singular value after the first 2r.
    """
    singular_values = hankel_eigen(taps[head:], 2 * largest + 1)[0].abs()
    hopeless = singular_values[::2] > tolerance * taps.abs().sum()
    return min(largest, int(hopeless.sum()) - 1) if hopeless.any() else 0
