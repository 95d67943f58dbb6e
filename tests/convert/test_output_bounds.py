import pytest
import torch
from kernel_families import harmonic, noise, product

from tmt import convert

N = 128


@pytest.fixture(scope="module")
def fit() -> convert.ExponentialFit:
    return convert.fit_exponentials(noise(N, 0.97), rank=6, head=2)


def test_no_random_input_breaks_the_bounds(fit: convert.ExponentialFit):
    torch.manual_seed(0)
    x = torch.randn(100, N, dtype=torch.float64) * torch.rand(100, 1, dtype=torch.float64) * 5
    off = product(fit.target, x) - product(fit.kernel(N), x)
    assert off.abs().max() > 0
    assert (off.abs().amax(-1) <= convert.largest_output_error(fit.error, x.abs().amax(-1))).all()
    assert (off.norm(dim=-1) <= convert.output_error_norm(fit.error, x.norm(dim=-1))).all()


def test_the_worst_input_attains_the_bound(fit: convert.ExponentialFit):
    x = 3 * convert.worst_input(fit.error)
    off = product(fit.target, x) - product(fit.kernel(N), x)
    bound = convert.largest_output_error(fit.error, 3.0)
    assert float(off.abs().max()) == pytest.approx(float(bound), rel=1e-9)
    assert float(off[-1]) == pytest.approx(3 * fit.l1_error, rel=1e-9)


def test_a_wave_nearly_attains_the_bound_of_the_norm(fit: convert.ExponentialFit):
    grid = torch.linspace(0, torch.pi, 4001, dtype=torch.float64)[:, None]
    response = (fit.error * torch.polar(torch.ones_like(grid), grid * torch.arange(N))).sum(-1).abs()
    x = torch.cos(grid[response.argmax()] * torch.arange(20 * N))
    error = torch.cat([fit.error, torch.zeros(19 * N)])
    ratio = product(error, x).norm() / x.norm()
    assert 0.95 * fit.gain_error < ratio <= fit.gain_error


@pytest.mark.parametrize("n", [1, 2, 7, 128])
@pytest.mark.parametrize("shift", [0.0, 0.37, 3.0])
def test_gain_is_the_peak_of_the_response_from_above(n: int, shift: float):
    taps = torch.stack([noise(n), harmonic(n) * torch.cos(shift * torch.arange(n))])
    grid = torch.linspace(0, torch.pi, 20001, dtype=torch.float64)
    waves = torch.polar(torch.ones(20001, n, dtype=torch.float64), grid[:, None] * torch.arange(n))
    peak = (waves @ taps.to(torch.complex128).T).abs().amax(0)
    gain = convert.gain(taps)
    assert (peak <= gain * (1 + 1e-12)).all()
    assert (gain <= 1.005 * peak).all()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("projected", [True, False])
def test_limits_behind_a_normalisation_hold_and_are_close(centred: bool, projected: bool):
    torch.manual_seed(0)
    d = 16
    scale, shift = torch.randn(d), torch.randn(d) if centred else None
    projection = torch.randn(8, d) if projected else None
    limits = convert.normalised_input_limit(scale, shift, projection)
    directions = scale * projection if projected else torch.diag(scale)
    tokens = torch.cat([torch.randn(1000, d), directions, -directions]) * 100
    if centred:
        x = torch.nn.functional.layer_norm(tokens, (d,), scale, shift)
    else:
        x = torch.nn.functional.rms_norm(tokens, (d,), scale)
    if projected:
        x = x @ projection.T
    seen = x.abs().amax(0)
    assert (seen <= limits * (1 + 1e-5)).all()
    assert (seen > (0.8 if centred else 0.999) * limits).all()
