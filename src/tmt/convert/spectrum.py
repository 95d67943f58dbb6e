"""Leading eigenpairs of a Hankel matrix: exact for a small one, by random projection for a large one."""

from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_DENSE = 512
"""Sides up to this are decomposed whole; beyond, the matrix is never written out."""
OVERSAMPLING = 32
POWER_STEPS = 4


def hankel_side(taps: Tensor) -> int:
    """Side p of the square Hankel matrix of taps (n ≥ 1,): its last entry leaves one tap to shift by."""
    return max(1, len(taps) // 2)


def hankel_eigen(taps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Eigenpairs of largest magnitude of ``G[i, j] = taps[i + j]``, i, j < p, taps (n,) float64.

    A Hankel matrix is symmetric, so the magnitudes are its singular values. Beyond `LARGEST_DENSE` they
    are those of a compression ``QᵀGQ`` (Halko, Martinsson & Tropp, 2011), hence never above the true
    ones. The same taps give the same result.

    Returns:
        eigenvalues (c,) by falling magnitude and eigenvectors (p, c), float64, with c = min(count, p).
    """
    side, width = hankel_side(taps), count + OVERSAMPLING
    if side <= max(LARGEST_DENSE, width):
        values, vectors = torch.linalg.eigh(taps[: 2 * side - 1].unfold(0, side, 1))
    else:
        product = hankel_product(taps, side)
        basis = _leading_range(product, side, width)
        values, rotation = torch.linalg.eigh(basis.T @ product(basis))
        vectors = basis @ rotation
    leading = values.abs().argsort(descending=True, stable=True)[:count]
    return values[leading], vectors[:, leading]


def hankel_product(taps: Tensor, side: int) -> Callable[[Tensor], Tensor]:
    """The map ``X ↦ G X`` of (p, c) matrices in O(c p log p); taps that are not there are zero."""
    length = 1 << (2 * side - 2).bit_length()
    spectrum = torch.fft.rfft(taps[: 2 * side - 1], length)

    def product(x: Tensor) -> Tensor:
        correlation = spectrum * torch.fft.rfft(x.T.contiguous(), length).conj()
        return torch.fft.irfft(correlation, length)[:, :side].T

    return product


def _leading_range(product: Callable[[Tensor], Tensor], side: int, width: int) -> Tensor:
    """(side, width) orthonormal basis of a space close to that of the leading eigenvectors."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(side, width, generator=generator, dtype=torch.float64)
    for _ in range(1 + POWER_STEPS):
        basis = torch.linalg.qr(product(basis)).Q
    return basis
