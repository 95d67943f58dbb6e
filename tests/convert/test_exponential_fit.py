from itertools import pairwise

import pytest
import torch
from kernel_families import exponentials, harmonic, lags, noise, product
from torch import Tensor

from tmt.convert import DiagonalKernel, fit_exponentials
from tmt.errors import InputError

SUMS = {
    "real": (2, 0, [(1.0, 0.9), (-0.5, 0.3)]),
    "negative": (2, 0, [(1.0, -0.8), (0.5, 0.95)]),
    "conjugate pairs": (2, 0, [(1 + 2j, 0.95 * 1j**0.3), (0.5, 0.8 * 1j**1.7)]),
    "both": (3, 0, [(1.0, 0.7), (1j, 0.99 * 1j**0.5), (0.3, 0.9 * 1j)]),
    "near each other": (3, 0, [(1.0, 0.9), (1.0, 0.9001), (-0.8, 0.9005)]),
    "behind a head": (2, 5, [(1.0, 0.9), (0.2 - 1j, 0.97 * 1j**0.1)]),
    "vanishing": (2, 0, [(2.0, 0.0), (1.0, 0.5)]),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("n", [64, 255, 1200])
def test_sums_of_exponentials_are_found_again(name: str, n: int):
    rank, head, terms = SUMS[name]
    kernel = torch.cat([noise(head), exponentials(n, *terms)])
    fit = fit_exponentials(kernel, rank, head)
    assert fit.relative_l1 < 1e-8
    assert len(fit.modes) <= rank
    expected = sorted((complex(mode) for _, mode in terms), key=lambda z: (z.real, z.imag))
    found = sorted(fit.modes.tolist(), key=lambda z: (z.real, z.imag))
    tolerance = 1e-3 if name == "near each other" else 1e-6
    assert found == pytest.approx(expected, abs=tolerance)
    assert torch.equal(
        fit.coefficients.imag[fit.modes.imag == 0], torch.zeros(int((fit.modes.imag == 0).sum()))
    )


def test_a_double_mode_is_approached_by_two():
    assert fit_exponentials(lags(512) * 0.9 ** lags(512), rank=2, head=0).relative_l1 < 1e-8


@pytest.mark.parametrize(("rank", "expected"), [(4, 1.5e-2), (8, 5e-5), (16, 9e-11)])
def test_a_smooth_kernel_needs_few_modes(rank: int, expected: float):
    assert fit_exponentials(harmonic(512), rank, head=1).relative_l1 == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("rank", "least"), [(16, 0.8), (64, 0.4)])
def test_noise_needs_as_many_numbers_as_it_has(rank: int, least: float):
    assert least < fit_exponentials(noise(512), rank, head=0).relative_l1 < 1


KERNELS = {
    "smooth": harmonic(200),
    "noise": noise(200),
    "fading noise": noise(200, 0.95),
    "growing": 1.02 ** lags(200),
    "ramp": lags(200),
    "running sum": torch.ones(200),
    "step": (lags(200) < 50).double(),
    "delay": (lags(200) == 3).double(),
    "short": noise(3),
    "one tap": noise(1),
    "zero": torch.zeros(200),
    "delta": (lags(200) == 0).double(),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("rank", [0, 1, 6])
@pytest.mark.parametrize("head", [0, 1, 5])
def test_what_holds_for_every_kernel(name: str, rank: int, head: int):
    kernel = KERNELS[name].double()
    fit = fit_exponentials(kernel, rank, head)
    assert fit.modes.dtype == fit.coefficients.dtype == torch.complex128
    assert len(fit.modes) == len(fit.coefficients) <= rank
    assert (fit.modes.abs() <= 1 - 1e-4 + 1e-15).all()
    assert (fit.modes.imag >= 0).all()
    assert fit.order <= 2 * rank
    taps = fit.kernel(len(kernel))
    assert torch.equal(taps[:head], kernel[:head])
    torch.testing.assert_close(fit.l1_error, float((kernel - taps).abs().sum()))
    assert fit.lower_bound <= fit.l1_error + 1e-12 * float(kernel.abs().sum())
    assert fit.gain_error <= fit.l1_error
    assert fit.kernel(5000).isfinite().all()
    torch.testing.assert_close(fit.kernel(5000)[: len(kernel)], taps)


@pytest.mark.parametrize(
    ("name", "head"), [("zero", 0), ("delta", 1), ("short", 3), ("short", 5), ("one tap", 1)]
)
def test_no_mode_where_the_head_is_everything(name: str, head: int):
    fit = fit_exponentials(KERNELS[name], rank=8, head=head)
    assert fit.order == 0
    assert fit.l1_error == fit.relative_l1 == fit.lower_bound == fit.gain_error == 0
    assert fit.head.shape == (head,)
    expected = torch.cat([KERNELS[name].double(), torch.zeros(200)])[:200]
    assert torch.equal(fit.kernel(200), expected if head else torch.zeros(200).double())


def test_rank_0_drops_the_tail():
    fit = fit_exponentials(harmonic(100), rank=0, head=4)
    assert fit.order == 0
    assert fit.l1_error == pytest.approx(float(harmonic(100)[4:].sum()))
    assert fit.lower_bound == pytest.approx(float(fit.singular_values[0]))


def test_a_larger_rank_does_not_fit_worse():
    for kernel in (
        harmonic(300),
        noise(300, 0.97),
        exponentials(300, (1, 0.9), (1j, 0.8j)) + 0.01 * noise(300),
    ):
        errors = [fit_exponentials(kernel, rank, head=1).relative_l1 for rank in (2, 4, 8, 16, 32)]
        assert all(b < a or b < 1e-12 for a, b in pairwise(errors))


def test_moving_the_modes_helps(monkeypatch: pytest.MonkeyPatch):
    kernel = noise(256, 0.9)
    polished = fit_exponentials(kernel, rank=4, head=1).relative_l1
    monkeypatch.setattr("tmt.convert.hankel.polish", lambda found, *_: found)
    assert polished < 0.9 * fit_exponentials(kernel, rank=4, head=1).relative_l1


def test_modes_on_the_unit_circle_where_they_are_allowed():
    running_sum = torch.ones(512)
    assert fit_exponentials(running_sum, rank=1, head=0).relative_l1 == pytest.approx(0.0128, rel=0.01)
    assert fit_exponentials(running_sum, rank=1, head=0, max_radius=1.0).relative_l1 < 1e-12


def test_the_same_kernel_gives_the_same_fit():
    for n in (300, 2500):
        a, b = (fit_exponentials(noise(n, 0.99), rank=8, head=2) for _ in range(2))
        assert torch.equal(a.modes, b.modes)
        assert torch.equal(a.coefficients, b.coefficients)


@pytest.mark.parametrize("head", [0, 1, 4])
def test_the_kernel_is_that_of_the_recurrence(head: int):
    fit = fit_exponentials(noise(60, 0.9), rank=5, head=head)
    x = noise(100)
    torch.testing.assert_close(recurrence(fit, x), product(fit.kernel(100), x))


def recurrence(state: DiagonalKernel, x: Tensor) -> Tensor:
    q, y, s = torch.zeros_like(state.modes), torch.zeros_like(x), len(state.head)
    for t in range(len(x)):
        if t >= s:
            q = state.modes * q + x[t - s]
        recent = x[max(0, t - s + 1) : t + 1].flip(0)
        y[t] = state.head[: len(recent)] @ recent + (state.coefficients @ q).real
    return y


BAD = {
    "one row of real taps": dict(kernel=torch.zeros(2, 8)),
    "got torch.float32 of shape": dict(kernel=torch.zeros(0)),
    "got torch.complex64": dict(kernel=torch.zeros(8, dtype=torch.complex64)),
    "not finite": dict(kernel=torch.tensor([1.0, torch.nan])),
    "got -1 and 1": dict(rank=-1),
    "got 4 and -2": dict(head=-2),
    "max_radius is 1.5": dict(max_radius=1.5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named(message: str):
    with pytest.raises(InputError, match=message):
        fit_exponentials(**(dict(kernel=harmonic(8), rank=4, head=1) | BAD[message]))


@pytest.mark.parametrize("n", [64, 256])
@pytest.mark.parametrize("sign", [1, -1])
def test_two_real_modes_fit_into_one_pair(n: int, sign: int):
    """0.9^k − 0.85^k is nearly k · 0.88^k, which a pair that hardly turns makes."""
    fit = fit_exponentials(exponentials(n, (1, sign * 0.9), (-1, sign * 0.85)), rank=1, head=0)
    assert fit.relative_l1 < 0.015
    assert (len(fit.modes), fit.order) == (1, 2)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_bound_is_that_of_pairs(rank: int):
    """Rank r holds 2r numbers a channel: a kernel of 2r real modes is not ruled out, one of more is."""
    real = [(1.0, 0.95 - 0.08 * i) for i in range(2 * rank)]
    assert fit_exponentials(exponentials(200, *real), rank, head=0).lower_bound < 1e-12
    fit = fit_exponentials(noise(60), rank, head=0)
    matrix = noise(60)[: 2 * 30 - 1].unfold(0, 30, 1)
    assert fit.lower_bound == pytest.approx(float(torch.linalg.svdvals(matrix)[2 * rank]))
    assert fit.lower_bound <= fit.l1_error
