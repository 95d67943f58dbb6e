"""A kernel's tail as a sum of few exponentials, from the Hankel matrix of its taps.

Ho & Kalman (1966) and Kung (1978): the taps ``w[s + i + j]`` of a state of order r form a matrix of rank r,
whose leading eigenvectors, shifted by one tap, show the state's transition. Massaroli et al. (2023) use the
same to distil long convolutions.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.convert.bounds import gain
from tmt.convert.least_squares import polish, project, within
from tmt.convert.spectrum import hankel_eigen, hankel_product, hankel_side
from tmt.convert.state import DiagonalKernel, as_taps
from tmt.errors import InputError


@dataclass(frozen=True, eq=False)
class ExponentialFit(DiagonalKernel):
    """A :class:`DiagonalKernel` fitted to given taps, and how far it is from them."""

    target: Tensor
    """(n,) float64 the taps it was fitted to."""
    singular_values: Tensor
    """(≤ 2·rank + 1,) float64, falling: the leading ones of the tail's Hankel matrix."""

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
        """The singular value after the first `order` ones.

        No tail of that order has a smaller error in the Hankel (spectral) norm (Eckart & Young, 1936),
        nor, as that norm is at most ``‖e‖₁``, a smaller `l1_error`.
        """
        return float(self.singular_values[self.order]) if self.order < len(self.singular_values) else 0.0

    @property
    def gain_error(self) -> float:
        """``max_θ |E(e^{iθ})|``, from above as :func:`tmt.convert.bounds.gain` has it."""
        return float(gain(self.error))


def fit_exponentials(kernel: Tensor, rank: int, head: int, max_radius: float = 1 - 1e-4) -> ExponentialFit:
    """Keep the first taps of a kernel and write the others as at most `rank` stored complex modes.

    The modes of the largest order that `rank` holds are found from the Hankel matrix and brought within
    `max_radius`; the coefficients are solved for on all taps. Modes improved by least squares are taken
    if they leave a smaller ``‖e‖₁``. Deterministic, float64 on the CPU.

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
    singular_values, modes = _hankel_modes(tail, rank)
    coefficients = modes
    if len(modes):
        found = project(tail, within(modes, max_radius))
        best = min(found, polish(found, tail, max_radius), key=lambda fit: float(fit.residual.abs().sum()))
        modes, coefficients = best.modes, best.coefficients
    kept = F.pad(target[:head], (0, max(0, head - len(target))))
    return ExponentialFit(kept, modes, coefficients, target, singular_values)


def _hankel_modes(tail: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Singular values (≤ 2·rank + 1,) of the tail's Hankel matrix and the modes (m ≤ rank,) they lead to."""
    none = torch.zeros(0, dtype=torch.complex128)
    if not len(tail):
        return none.real, none
    values, vectors = hankel_eigen(tail, 2 * rank + 1)
    singular_values, side = values.abs(), hankel_side(tail)
    rounding = side * torch.finfo(torch.float64).eps * singular_values[0]
    largest = min(2 * rank, int((singular_values > rounding).sum()))
    scale = singular_values.rsqrt()
    shifted = vectors.T @ hankel_product(tail[1:], side)(vectors)
    transition = scale[:, None] * shifted * (values.sign() * scale)
    for order in range(largest, 0, -1):
        modes = torch.linalg.eigvals(transition[:order, :order])
        modes = modes[modes.imag >= 0]
        if len(modes) <= rank:
            return singular_values, modes
    return singular_values, none
