"""What kind of operators the token mixers of a model are, kernel by kernel, for `tmt inspect --operator`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmt.analysis.conditioning import LARGEST_MATRIX, log10_condition, small_singular_values
from tmt.analysis.kernel import Taps
from tmt.analysis.roots import MOST_TAPS, count_roots
from tmt.analysis.winding import SAMPLES_PER_TAP, symbol_index
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.model.registry import ARCHITECTURES

Kernels = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class KernelRecord:
    """One head of one layer; None stands for no value, and several channel shifts have a distance only.

    Rows normalised by their sum, where the model does that, scale the matrix from the left and are not part
    of what is analysed.
    """

    layer: str
    head: int
    taps: int
    """n, also the rows of the matrix."""
    channel_shifts: int
    """K; the symbol of more than one has two variables, and no index."""
    distance: float
    """Smallest over largest modulus of the symbol on the unit circle (K > 1: sampled on the torus)."""
    certified: bool = False
    """Whether a zero on the circle is ruled out."""
    index: int | None = None
    """Minus the zeros inside the circle; None where not certified."""
    residual_index: int | None = None
    """The same of the kernel plus the identity, which is what a residual connection makes of it (but for the
    norm's scale of each row); None where projections stand around the kernel."""
    leading_zeros: int | None = None
    """Negligible taps before the first that is not."""
    first_tap_share: float | None = None
    """w[0]² / ‖w‖², 1 for a multiple of the identity."""
    log10_condition: tuple[float, float] | None = None
    """Bounds of the condition number of n rows; None where these have no inverse."""
    small_singular_values: int | None = None
    """Of n rows, those below 1e-6 of the largest; None beyond 1024 rows."""
    small_singular_values_doubled: int | None = None
    """The same of 2n rows, the kernel extended by zeros."""
    rank: int | None = None
    """Rank of n rows at a tolerance of 1e-6."""
    roots_inside: int | None = None
    """Zeros inside the circle as the companion matrix has them; None beyond 256 taps."""
    roots_near_circle: int | None = None
    """So many of them at most may be on the wrong side: zeros between circles proven free of them."""


def model_kernels(model: LanguageModel, arch: str) -> Kernels:
    """The causal Toeplitz kernels of a model, float64 (H, K, n) by the name of their layer, in order.

    Raises:
        InputError: the architecture, `arch`, has none.
    """
    kernels = {name: tensor.numpy() for name, tensor in model.kernels().items()}
    if not kernels:
        having = [
            name for name, entry in ARCHITECTURES.items() if entry.model.kernels is not LanguageModel.kernels
        ]
        raise InputError(f"{arch} has no Toeplitz kernels to analyse; these have: {', '.join(having)}")
    return kernels


def mixes_by_kernels_alone(model: LanguageModel) -> bool:
    """Whether no projection stands before a model's kernels, so that the residual makes T + I of them."""
    return not any(name.endswith("mixer.input.weight") for name, _ in model.named_parameters())


def operator_records(kernels: Kernels, alone: bool = True) -> Iterator[KernelRecord]:
    """A record for every head of every layer, of kernels (H, K, n) as :func:`model_kernels` gives them.

    `alone` is what :func:`mixes_by_kernels_alone` says of their model.
    """
    for layer, heads in kernels.items():
        for head, kernel in enumerate(heads):
            shifts, taps = kernel.shape
            found = (
                _one_variable(kernel[0], alone) if shifts == 1 else {"distance": _distance_on_torus(kernel)}
            )
            yield KernelRecord(layer, head, taps, shifts, **found)


def _one_variable(kernel: Taps, alone: bool) -> dict[str, Any]:
    length, energy = kernel.size, float(kernel @ kernel)
    symbol = symbol_index(kernel)
    roots = count_roots(kernel) if length <= MOST_TAPS and energy else None
    small = small_singular_values(kernel, length) if length <= LARGEST_MATRIX else None
    doubled = small_singular_values(kernel, 2 * length) if 2 * length <= LARGEST_MATRIX else None
    return dict(
        distance=symbol.distance,
        certified=symbol.certified,
        index=symbol.index,
        residual_index=symbol_index(kernel + (np.arange(length) == 0)).index if alone else None,
        leading_zeros=symbol.leading_zeros,
        first_tap_share=float(kernel[0] ** 2 / energy) if energy else None,
        log10_condition=log10_condition(kernel, length),
        small_singular_values=small,
        small_singular_values_doubled=doubled,
        rank=None if small is None else length - small,
        roots_inside=None if roots is None else roots.inside,
        roots_near_circle=None if roots is None else roots.near,
    )


def _distance_on_torus(kernel: NDArray[np.float64]) -> float:
    """Of the symbol Σ w[i, k] zᵏ sⁱ of kernels (K, n) that mix channels too."""
    moduli = np.abs(np.fft.rfft2(kernel, [SAMPLES_PER_TAP * size for size in kernel.shape]))
    return float(moduli.min() / moduli.max()) if kernel.any() else 0.0
