"""Kernels whose zeros are known, and the matrix of a kernel by its definition."""

from collections.abc import Sequence

import numpy as np


def from_zeros(zeros: Sequence[complex]) -> np.ndarray:
    """Taps of the real polynomial with these zeros and their conjugates; a real zero counts once."""
    taps = np.ones(1)
    for zero in zeros:
        factor = [-zero.real, 1.0] if zero.imag == 0 else [abs(zero) ** 2, -2 * zero.real, 1.0]
        taps = np.convolve(taps, factor)
    return taps


def matrix_of(kernel: Sequence[float], size: int) -> np.ndarray:
    """T[t, s] = w[t - s], zero beyond the kernel."""
    taps = np.zeros(size)
    taps[: min(size, len(kernel))] = kernel[:size]
    return np.array([[taps[t - s] if t >= s else 0.0 for s in range(size)] for t in range(size)])


GROWING = 1.1 ** np.arange(64)
SHRINKING = 0.9 ** np.arange(64)
TWO_AND_ONE = np.convolve(np.convolve([1, -2], [1, -2]), [1, 3])
