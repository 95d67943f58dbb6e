"""Exponentials fitted to taps by least squares: the coefficients of given modes, and better modes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tmt.convert.state import powers

RCOND = 1e-13
"""Directions of the scaled columns below this share of the strongest are left out."""
ROUNDING = 1e-13
"""A residual below this share of the taps is rounding: nothing is left to improve."""
STEPS = 30
LEAST_GAIN = 1e-3
"""Polishing ends with the first step that takes off less than this share of the residual."""
STIFFEST = 1e6
"""Damping at which no smaller step is tried."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Taps (n,) projected on the span of exponentials."""

    modes: Tensor
    """(m,) complex128."""
    coefficients: Tensor
    """(m,) complex128."""
    residual: Tensor
    """(n,) float64 what the exponentials leave of the taps."""
    span: Tensor
    """(n, order) float64 orthonormal columns."""

    @property
    def cost(self) -> float:
        """2-norm of the residual."""
        return float(self.residual.norm())


def project(taps: Tensor, modes: Tensor) -> Projection:
    """Best coefficients of the modes (m,) for the taps (n,): ``min_c ‖taps − Re Σ_j c_j λ_j^k‖₂``.

    Columns are scaled to one norm and directions below rounding are left out, so nearly equal modes give
    the smallest of their equivalent coefficients.
    """
    columns = _real_columns(powers(modes, len(taps)), modes)
    scale = columns.norm(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
    columns = columns / scale
    span, triangle = torch.linalg.qr(columns)
    coordinates = (span.T @ taps)[:, None]
    solved = torch.linalg.lstsq(triangle, coordinates, rcond=RCOND, driver="gelsd").solution[:, 0]
    return Projection(modes, _complex(solved / scale, modes), taps - columns @ solved, span)


def polish(start: Projection, taps: Tensor, max_radius: float) -> Projection:
    """Move the modes to a nearby smaller 2-norm of the residual, all of them within `max_radius`.

    Levenberg–Marquardt on the modes alone, the coefficients being solved for at every step: variable
    projection (Golub & Pereyra, 1973) with Kaufman's (1975) Jacobian.
    """
    best, damping = start, 1e-2
    for _ in range(STEPS):
        if best.cost <= ROUNDING * float(taps.norm()):
            break
        jacobian = _jacobian(best)
        scale = jacobian.norm(dim=0).clamp(min=torch.finfo(torch.float64).tiny)
        jacobian = jacobian / scale
        normal, gradient, before = jacobian.T @ jacobian, jacobian.T @ best.residual, best.cost
        while damping < STIFFEST and best.cost == before:
            damped = normal + damping * torch.eye(len(normal), dtype=torch.float64)
            step = _complex(torch.linalg.solve(damped, gradient) / scale, best.modes)
            trial = project(taps, within(best.modes + step, max_radius))
            improved = trial.cost < before
            best, damping = (trial, damping / 3) if improved else (best, damping * 4)
        if best.cost > (1 - LEAST_GAIN) * before:
            break
    return best


def within(modes: Tensor, max_radius: float) -> Tensor:
    """The nearest modes of at most that magnitude; of two conjugate ones that with Im λ ≥ 0."""
    modes = torch.complex(modes.real, modes.imag.abs())
    return modes * (max_radius / modes.abs().clamp(min=max_radius))


def _jacobian(fit: Projection) -> Tensor:
    """(n, order) change of the fitted taps with the modes, outside what new coefficients can undo."""
    n = len(fit.residual)
    k = torch.arange(1, n, dtype=torch.float64)[:, None]
    slopes = k * powers(fit.modes, n - 1) * fit.coefficients
    columns = _real_columns(torch.cat([torch.zeros_like(slopes[:1]), slopes]), fit.modes)
    return columns - fit.span @ (fit.span.T @ columns)


def _real_columns(z: Tensor, modes: Tensor) -> Tensor:
    """(n, order) columns taking the real unknowns to ``Re Σ_j z_j (a_j + i b_j)``, b_j = 0 for real modes."""
    return torch.cat([z.real, -z.imag[:, modes.imag != 0]], dim=1)


def _complex(unknowns: Tensor, modes: Tensor) -> Tensor:
    """(m,) complex ``a_j + i b_j`` of the real unknowns (order,)."""
    imag = torch.zeros(len(modes), dtype=torch.float64)
    imag[modes.imag != 0] = unknowns[len(modes) :]
    return torch.complex(unknowns[: len(modes)], imag)
