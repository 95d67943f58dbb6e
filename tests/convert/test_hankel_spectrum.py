import pytest
import torch
from kernel_families import harmonic, noise
from torch import Tensor

from tmt.convert import fit_exponentials, spectrum

N = 700


def hankel(taps: Tensor) -> Tensor:
    side = spectrum.hankel_side(taps)
    return torch.stack([taps[i : i + side] for i in range(side)])


@pytest.mark.parametrize("n", [1, 2, 3, 17, 64])
def test_product(n: int):
    taps = noise(n)
    x = noise(3 * spectrum.hankel_side(taps)).reshape(-1, 3)
    torch.testing.assert_close(spectrum.hankel_product(taps, len(x))(x), hankel(taps) @ x)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("kernel", [harmonic(N), noise(N, 0.98)], ids=["smooth", "fading noise"])
def test_eigenpairs(dense: bool, kernel: Tensor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spectrum, "LARGEST_DENSE", N if dense else 0)
    values, vectors = spectrum.hankel_eigen(kernel, 12)
    expected = torch.linalg.svdvals(hankel(kernel))[:12]
    torch.testing.assert_close(values.abs(), expected, rtol=1e-9 if dense else 1e-4, atol=1e-13)
    residual = hankel(kernel) @ vectors - vectors * values
    assert residual.norm(dim=0).max() < (1e-9 if dense else 1e-2) * expected[0]
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(12, dtype=torch.float64))


def test_random_projection_never_overstates_a_singular_value(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spectrum, "LARGEST_DENSE", 0)
    kernel = noise(N)
    estimate = spectrum.hankel_eigen(kernel, 40)[0].abs()
    exact = torch.linalg.svdvals(hankel(kernel))[:40]
    assert (estimate <= exact * (1 + 1e-12)).all()
    assert (estimate > 0.8 * exact).all()


def test_large_kernels_fit_as_well_as_small_ones(monkeypatch: pytest.MonkeyPatch):
    kernel = noise(N, 0.98)
    exact = fit_exponentials(kernel, 16, head=1)
    monkeypatch.setattr(spectrum, "LARGEST_DENSE", 0)
    projected = fit_exponentials(kernel, 16, head=1)
    assert projected.relative_l1 == pytest.approx(exact.relative_l1, rel=0.05)
