"""A kernel's tail as a sum of few exponentials, from the Hankel matrix of its taps.

Ho & Kalman (1966) and Kung (1978): the taps ``w[s + i + j]`` of a state of order r form a matrix of rank r,
whose leading eigenvectors, shifted by one tap, show the state's transition. Massaroli et al. (2023) use the
same to distil long convolutions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.convert.bounds import gain
from tmt.convert.least_squares import Projection, polish, project, within
from tmt.convert.spectrum import hankel_eigen, hankel_product, hankel_side
from tmt.convert.state import DiagonalKernel, as_taps
from tmt.errors import InputError

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Of the way from one real mode to the next, where a pair in place of both is tried."""
TURN = 1e-3
"""Its angle."""


@dataclass(frozen=True, eq=False)
class ExponentialFit(DiagonalKernel):
    """A :class:`DiagonalKernel` fitted to given taps, and how far it is from them."""

    target: Tensor
    """(n,) float64 the taps it was fitted to."""
    singular_values: Tensor
    """(≤ 2·rank + 1,) float64, falling: the leading ones of the tail's Hankel matrix."""
    rank: int
    """Modes that it might have had."""

    @cached_property
    def error(self) -> Tensor:
        """(n,) float64 target minus fit; 0 on the head."""
        return self.target - self.kernel(len(self.target))

    @property
    def l1_error(self) -> float:
        """``‖e‖₁``: the largest output error for inputs of magnitude at most 1."""
        return float(self.error.abs().sum())

    @property
    def relative_l1(self) -> float:
        """``‖e‖₁`` as a share of the whole kernel's 1-norm; 0 for a kernel of zeros."""
        size = float(self.target.abs().sum())
        return self.l1_error / size if size else 0.0

    @property
    def lower_bound(self) -> float:
        """The singular value after the first 2·rank ones.

        Of `rank` stored modes all may be pairs, so their Hankel matrix has that rank at most. No such tail
        has a smaller error in the Hankel (spectral) norm (Eckart & Young, 1936), nor, as that norm is at
        most ``‖e‖₁``, a smaller `l1_error`.
        """
        largest = 2 * self.rank
        return float(self.singular_values[largest]) if largest < len(self.singular_values) else 0.0

    @property
    def gain_error(self) -> float:
        """``max_θ |E(e^{iθ})|``, from above as :func:`tmt.convert.bounds.gain` has it."""
        return float(gain(self.error))


def fit_exponentials(kernel: Tensor, rank: int, head: int, max_radius: float = 1 - 1e-4) -> ExponentialFit:
    """Keep the first taps of a kernel and write the others as at most `rank` stored complex modes.

    The modes of the largest order that `rank` holds are found from the Hankel matrix and brought within
    `max_radius`; the coefficients are solved for on all taps. Where real modes are too many, those of a
    larger order are another start, of which neighbours are merged: a pair costs no more than a real mode.
    Modes improved by least squares are taken if they leave a smaller ``‖e‖₁``. Deterministic, float64 on
    the CPU.

    Args:
        kernel: (n,) taps, n ≥ 1.
        rank: most modes to store, conjugate pairs counting as one; 0 drops the tail.
        head: taps kept as they are. A kernel shorter than that is kept whole, with zeros after it.
        max_radius: largest ``|λ|``, in (0, 1]; below 1 the kernel fades when run past its length.

    Raises:
        InputError: if the kernel is not one row of finite real taps, or a number is out of its range.
    """
    if rank < 0 or head < 0:
        raise InputError(f"rank and head are numbers of modes and taps, 0 or more; got {rank} and {head}")
    if not 0 < max_radius <= 1:
        raise InputError(f"max_radius is {max_radius}; a mode that does not grow has one in (0, 1]")
    target = as_taps(kernel)
    tail = target[head:]

    def nearest(fits: Iterable[Projection]) -> Projection | None:
        return min(fits, key=lambda fit: float(fit.residual.abs().sum()), default=None)

    singular_values, starts = _hankel_modes(tail, rank)
    found = [nearest(project(tail, within(modes, max_radius)) for modes in start) for start in starts]
    found = [fit for fit in found if fit is not None]
    best = nearest([*found, *(polish(fit, tail, max_radius) for fit in found)])
    none = torch.zeros(0, dtype=torch.complex128)
    modes, coefficients = (none, none) if best is None else (best.modes, best.coefficients)
    kept = F.pad(target[:head], (0, max(0, head - len(target))))
    return ExponentialFit(kept, modes, coefficients, target, singular_values, rank)


def _hankel_modes(tail: Tensor, rank: int) -> tuple[Tensor, list[list[Tensor]]]:
    """Singular values (≤ 2·rank + 1,) of the tail's Hankel matrix and modes (m ≤ rank,) that they lead to.

    First those of the largest order that has no more of them, then, where a larger order has too many, the
    largest that has no more once neighbours are merged, in several ways.
    """
    if not len(tail):
        return tail, []
    values, vectors = hankel_eigen(tail, 2 * rank + 1)
    singular_values, side = values.abs(), hankel_side(tail)
    rounding = side * torch.finfo(torch.float64).eps * singular_values[0]
    largest = min(2 * rank, int((singular_values > rounding).sum()))
    scale = singular_values.rsqrt()
    shifted = vectors.T @ hankel_product(tail[1:], side)(vectors)
    transition = scale[:, None] * shifted * (values.sign() * scale)
    merged: list[list[Tensor]] = []
    for order in range(largest, 0, -1):
        modes = torch.linalg.eigvals(transition[:order, :order])
        modes = modes[modes.imag >= 0]
        if len(modes) <= rank:
            return singular_values, [[modes], *merged]
        if not merged:
            ways = [fewer for share in SHARES if (fewer := _merged(modes, rank, share)) is not None]
            merged = [ways] if ways else []
    return singular_values, merged


def _merged(modes: Tensor, rank: int, share: float) -> Tensor | None:
    """At most `rank` modes: neighbouring real ones of one sign become a pair; None where they are too few.

    ``λ₁^k`` and ``λ₂^k`` are near the span of ``Re μ^k`` and ``Im μ^k`` for a μ between them, at that share
    of the way in logarithms, and hardly turned: near a double mode.
    """
    pairs, real = modes[modes.imag != 0], modes.real[modes.imag == 0].sort().values
    while len(pairs) + len(real) > rank:
        apart = (real[1:] / real[:-1]).log().abs().nan_to_num(nan=math.inf)
        if not len(apart) or not apart.min() < math.inf:
            return None
        first = int(apart.argmin())
        size = real[first].abs() ** (1 - share) * real[first + 1].abs() ** share
        pair = torch.polar(size, size.new_tensor(TURN if real[first] > 0 else math.pi - TURN))
        pairs, real = torch.cat([pairs, pair[None]]), torch.cat([real[:first], real[first + 2 :]])
    return torch.cat([real.to(pairs.dtype), pairs])
