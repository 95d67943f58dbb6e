from fractions import Fraction
from math import log10

import numpy as np
import pytest
from known_kernels import GROWING, SHRINKING, TWO_AND_ONE, matrix_of

from tmt.analysis import log10_condition, singular_values, small_singular_values
from tmt.errors import InputError

SIZES = (32, 64, 128)


def condition(kernel, size: int) -> float:
    values = singular_values(kernel, size)
    return values[0] / values[-1]


@pytest.mark.parametrize("size", [1, 5, 40])
def test_singular_values_are_those_of_the_matrix(size: int):
    kernel = np.random.default_rng(0).normal(size=20)
    expected = np.linalg.svd(matrix_of(kernel, size), compute_uv=False)
    np.testing.assert_allclose(singular_values(kernel, size), expected, atol=1e-12 * expected[0])


def test_the_identity():
    assert condition([1], 64) == 1
    assert log10_condition([1], 64) == (0, 0)


def test_known_conditions():
    assert [round(condition([1, -0.5], size), 2) for size in SIZES] == [2.97, 2.99, 3.00]
    assert condition([1, -2], 32) >= 8e9
    assert all(15 < condition(SHRINKING, size) < 19 for size in SIZES)
    assert condition(GROWING, 128) == pytest.approx(3.9e6, rel=0.02)


@pytest.mark.parametrize("kernel", [np.ones(64), [1, -1]])
def test_a_zero_on_the_circle_costs_in_proportion_to_size(kernel):
    assert all(1.2 < condition(kernel, size) / size < 1.5 for size in SIZES)


@pytest.mark.parametrize(
    ("kernel", "size", "small"),
    [
        *[([0, 0, 0, 1], size, 3) for size in SIZES],
        ([1, -2], 32, 1),
        (np.convolve([1, -2], [1, -0.5]), 32, 1),
        (TWO_AND_ONE, 32, 3),
        (TWO_AND_ONE, 128, 3),
        (GROWING, 64, 0),
        (GROWING, 128, 54),
        ([1, -0.5], 128, 0),
        (np.zeros(4), 8, 8),
    ],
)
def test_small_singular_values(kernel, size: int, small: int):
    assert small_singular_values(kernel, size) == small


@pytest.mark.parametrize("length", [2, 16, 64])
def test_bounds_hold(length: int):
    rng = np.random.default_rng(length)
    for scale in (0.1, 0.5, 1.0):
        kernel = scale * rng.normal(size=length) / length**0.5 + (np.arange(length) == 0)
        for size in (length, 2 * length):
            lower, upper = log10_condition(kernel, size)
            assert lower <= log10(condition(kernel, size)) + 1e-9
            assert log10(condition(kernel, size)) <= upper + 1e-9
            assert upper - lower <= 1.5


def test_bounds_of_one_minus_two_z():
    assert log10_condition([1, -2], 32) == pytest.approx((9.74, 10.11), abs=0.01)


def test_bounds_where_singular_values_and_floats_end():
    """(1 - 1000z) has the inverse kernel 1000^k, whose last tap of 200 is 1e597."""
    lower, upper = log10_condition([1, -1000], 200)
    assert lower == pytest.approx(597 + 3, abs=1e-5)
    assert upper == pytest.approx(597 + log10(1001), abs=1e-3)


def test_the_lower_bound_against_exact_arithmetic():
    kernel = np.random.default_rng(1).normal(size=48).astype(np.float32)
    taps, inverse = [Fraction(float(tap)) for tap in kernel], [1 / Fraction(float(kernel[0]))]
    for k in range(1, 48):
        inverse.append(-sum(taps[i] * inverse[k - i] for i in range(1, k + 1)) / taps[0])
    squares = sum(tap**2 for tap in taps) * sum(tap**2 for tap in inverse)
    assert log10_condition(kernel, 48)[0] == pytest.approx(0.5 * log10(squares), abs=1e-9)


def test_no_inverse():
    assert log10_condition([0, 1], 16) is None
    assert log10_condition(np.zeros(4), 16) is None


def test_large_matrices_are_refused():
    with pytest.raises(InputError, match="at most 1024"):
        singular_values([1.0], 1025)
