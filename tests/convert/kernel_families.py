"""Kernels whose best states are known, or known to be poor."""

import torch
from torch import Tensor


def lags(n: int) -> Tensor:
    return torch.arange(n, dtype=torch.float64)


def exponentials(n: int, *terms: tuple[complex, complex]) -> Tensor:
    """Σ Re c λ^k of the terms (c, λ)."""
    taps = [sum((c * complex(mode) ** k).real for c, mode in terms) for k in range(n)]
    return torch.tensor(taps, dtype=torch.float64)


def harmonic(n: int) -> Tensor:
    return 1 / (1 + lags(n))


def noise(n: int, decay: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, generator=generator, dtype=torch.float64) * decay ** lags(n)


def product(kernel: Tensor, x: Tensor) -> Tensor:
    """y[t] = Σ_{k ≤ t} kernel[k] x[t − k] for x (..., n), term by term."""
    n = x.shape[-1]
    toeplitz = torch.stack([torch.cat([kernel.new_zeros(s), kernel[: n - s]]) for s in range(n)])
    return x @ toeplitz
