"""The index of a causal Toeplitz operator: how often its symbol winds around zero, with a proof.

The symbol of a kernel is the polynomial a(z) = Σ w[k] z^k. On sequences without end its operator is Fredholm
where a has no zero on the unit circle, and its index is then minus the number of zeros inside (Gohberg; see
Böttcher and Silbermann, Introduction to Large Truncated Toeplitz Matrices, 1999, theorem 1.9).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmt.analysis.kernel import Taps, leading_zeros, taps_of

SAMPLES_PER_TAP = 16
"""Samples on the circle before any arc is halved."""
NARROWEST = 1e-12
"""Half-width, in radians, below which an arc is not halved again."""
MOST_ARCS = 1 << 16
"""Arcs under examination at a time; more of them only arise around many zeros in one place."""
BLOCK = 1 << 20
"""Powers of z held at a time."""


@dataclass(frozen=True)
class SymbolIndex:
    """What is known of a symbol on the unit circle."""

    index: int | None
    """Minus the number of zeros inside the circle; None where a zero on it cannot be ruled out."""
    leading_zeros: int
    """Zeros at the origin, which the index counts: taps before the first that is not negligible."""
    min_modulus: float
    """Smallest abs(a) among the samples."""
    max_modulus: float
    """Largest."""
    samples: int
    """Points of the circle at which the symbol was evaluated."""

    @property
    def certified(self) -> bool:
        """Whether the circle is proven free of zeros, so that the operator is Fredholm with this index."""
        return self.index is not None

    @property
    def zeros_inside(self) -> int | None:
        """Zeros with abs(z) < 1, each as often as its multiplicity."""
        return None if self.index is None else -self.index

    @property
    def distance(self) -> float:
        """Smallest modulus over largest: 0 for a zero on the circle, 1 for a single tap."""
        return self.min_modulus / self.max_modulus if self.max_modulus else 0.0


@dataclass
class _Arcs:
    """Arcs of one width around their centres, and the symbol there."""

    centres: NDArray[np.float64]
    """In turns, a dyadic fraction each, so that halving is exact."""
    values: NDArray[np.complex128]
    """a at the centres."""
    slopes: NDArray[np.float64]
    """abs of the derivative, by the angle, of the centred symbol exp(-i m θ) a(exp(i θ))."""

    def __getitem__(self, keep: NDArray[np.bool_]) -> "_Arcs":
        return _Arcs(self.centres[keep], self.values[keep], self.slopes[keep])


def symbol_index(kernel: ArrayLike) -> SymbolIndex:
    """Index of the Toeplitz operator of a real kernel (n,), never guessed.

    The centred symbol c(θ) = exp(-i m θ) a(exp(i θ)), m = (n - 1)/2, is of exponential type m, so Bernstein's
    inequality bounds its second derivative by m² M, M = max abs(c). On the arc of half-width h around θ it
    therefore stays within abs(c'(θ)) h + ½ (m h)² M of c(θ). Where that is less than abs(c(θ)), the arc holds
    no zero and c turns by less than a quarter towards either end, which makes the turn between neighbouring
    centres unambiguous. Arcs that fail are halved, down to 1e-12 rad. Rounding, and the taps taken for zero,
    count against the proof.

    Raises:
        InputError: the kernel is not one row of finite numbers.
    """
    taps = taps_of(kernel)
    leading = leading_zeros(taps)
    if leading == taps.size:
        return SymbolIndex(None, leading, 0.0, 0.0, 0)
    scale = np.abs(taps).max()
    taps /= scale
    ignored = np.abs(taps[:leading]).sum()
    taps = taps[leading : np.flatnonzero(taps)[-1] + 1]
    winding, moduli = _wind(taps, ignored + _rounding(taps))
    return SymbolIndex(
        index=None if winding is None else -leading - winding,
        leading_zeros=leading,
        min_modulus=float(moduli.min() * scale),
        max_modulus=float(moduli.max() * scale),
        samples=moduli.size,
    )


def largest_modulus(taps: Taps) -> float:
    """An upper bound, at most half a percent too large, of abs(a) on the unit circle."""
    return _bound(_sampled(taps), taps.size)


def _wind(taps: Taps, error: float) -> tuple[int | None, NDArray[np.float64]]:
    """Turns of a around zero, None without a proof, and abs(a) wherever it was evaluated."""
    middle = (taps.size - 1) / 2
    arcs = _sampled(taps)
    half = 0.5 / arcs.centres.size
    largest = _bound(arcs, taps.size) + error
    moduli, proven = [np.abs(arcs.values)], []
    while True:
        reach = 2 * np.pi * half
        safe = moduli[-1] > arcs.slopes * reach + 0.5 * (middle * reach) ** 2 * largest + error
        proven.append(arcs[safe])
        if safe.all():
            return _turns(proven, middle), np.concatenate(moduli)
        doubtful = arcs.centres[~safe]
        hopeless = (moduli[-1] <= error).any() or reach < NARROWEST or doubtful.size > MOST_ARCS
        if hopeless:
            return None, np.concatenate(moduli)
        half /= 2
        arcs = _evaluated(taps, np.concatenate((doubtful - half, doubtful + half)))
        moduli.append(np.abs(arcs.values))


def _sampled(taps: Taps) -> _Arcs:
    """Arcs that cover the circle, a power of two of them."""
    count = 1 << (SAMPLES_PER_TAP * taps.size - 1).bit_length()
    values, slopes = np.fft.fft(np.stack((taps, _centred_orders(taps) * taps)), count).conj()
    return _Arcs(np.arange(count) / count, values, np.abs(slopes))


def _evaluated(taps: Taps, centres: NDArray[np.float64]) -> _Arcs:
    """The symbol at any points, term by term."""
    weights = np.stack((taps, _centred_orders(taps) * taps), axis=1)
    orders = np.arange(taps.size)
    blocks = np.array_split(centres, -(-centres.size * taps.size // BLOCK))
    sums = [np.exp(2j * np.pi * (np.outer(block, orders) % 1)) @ weights for block in blocks]
    values, slopes = np.concatenate(sums).T
    return _Arcs(centres, values, np.abs(slopes))


def _centred_orders(taps: Taps) -> NDArray[np.float64]:
    return np.arange(taps.size, dtype=np.float64) - (taps.size - 1) / 2


def _bound(arcs: _Arcs, taps: int) -> float:
    """Bound of abs(a) between samples: around its peak a real c is at least M cos(m θ) (M. Riesz, 1914)."""
    return float(np.abs(arcs.values).max() / np.cos(np.pi * (taps - 1) / 2 / arcs.centres.size))


def _rounding(taps: Taps) -> float:
    """Bound of what rounding does to a value, its slope times the reach included.

    A term's angle is off by at most 2π n units of rounding, its sine, cosine and the sum over terms by less.
    """
    return float(5 * (taps.size + 8) * np.finfo(np.float64).eps * np.abs(taps).sum())


def _turns(groups: list[_Arcs], middle: float) -> int:
    """Turns of a along arcs that tile the circle, the step back to the first included."""
    centres = np.concatenate([arcs.centres for arcs in groups])
    order = np.argsort(centres)
    centres = centres[order]
    values = np.concatenate([arcs.values for arcs in groups])[order]
    steps = np.append(centres[1:], centres[0] + 1) - centres
    centred = np.roll(values, -1) * values.conj() * np.exp(-2j * np.pi * middle * steps)
    return round(np.angle(centred).sum() / (2 * np.pi) + middle)
