from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from known_kernels import GROWING, SHRINKING, TWO_AND_ONE, from_zeros

from tmt.analysis import count_roots, symbol_index
from tmt.analysis.winding import largest_modulus
from tmt.errors import InputError


def exact_zeros_inside(kernel: np.ndarray) -> int | None:
    """Schur-Cohn in rational arithmetic; None where a step is degenerate."""
    taps = [Fraction(float(tap)) for tap in kernel]
    flips = []
    while len(taps) > 1:
        first, last = taps[0], taps[-1]
        if abs(first) == abs(last):
            return None
        flips.append(len(taps) - 1 if abs(first) < abs(last) else None)
        taps = [first * a - last * b for a, b in zip(taps[:-1], taps[:0:-1], strict=True)]
    inside = 0
    for degree in reversed(flips):
        inside = inside if degree is None else degree - inside
    return inside


@pytest.mark.parametrize(
    ("kernel", "index"),
    [
        ([1], 0),
        ([-3.5], 0),
        ([0, 0, 0, 1], -3),
        ([1, -0.5], 0),
        ([1, -2], -1),
        (np.convolve([1, -2], [1, -0.5]), -1),
        (TWO_AND_ONE, -3),
        (SHRINKING, 0),
        (GROWING, -63),
        ([1e-14, 1, -0.5], -1),
        ([1, -0.5, 0, 0, 0], 0),
        ([1e-300, -2e-300], -1),
        ([1e300, -2e300], -1),
    ],
)
def test_known_index(kernel, index: int):
    found = symbol_index(kernel)
    assert (found.index, found.certified, found.zeros_inside) == (index, True, -index)
    assert found.distance > 0.02


def test_leading_zeros_are_named():
    assert symbol_index([0, 0, 0, 1]).leading_zeros == 3
    assert symbol_index([1e-14, 1, -0.5]).leading_zeros == 1
    assert symbol_index([1e-9, 1, -0.5]).leading_zeros == 0


def test_taps_taken_for_zero_count_against_the_proof():
    """They move the zero at 1 - 3e-12 out of the circle."""
    tail = [1, -1 - 3e-12]
    assert symbol_index(tail).index == -1
    assert exact_zeros_inside(np.array([9e-13] * 5 + tail)) == 5
    assert symbol_index([9e-13] * 5 + tail).index is None


@pytest.mark.parametrize(
    "kernel",
    [
        np.ones(64),
        [1, -1],
        [1, -1 - 5e-14],
        [1, -2 * np.cos(1.0), 1],
        np.convolve([1, -2 * np.cos(2.0), 1], [1, -2]),
        from_zeros([1] * 20),
        from_zeros([1.0001 * np.exp(1j)] * 6),
        np.zeros(5),
    ],
    ids=[
        "ones",
        "difference",
        "nearer than 1e-12",
        "pair",
        "pair and one inside",
        "one of order 20",
        "a cluster",
        "nothing",
    ],
)
def test_a_zero_on_the_circle_gives_no_index(kernel):
    found = symbol_index(kernel)
    assert (found.index, found.certified, found.zeros_inside) == (None, False, None)
    assert found.distance < 1e-11


@pytest.mark.parametrize("gap", [1e-3, 1e-5, 1e-7, 1e-9])
@pytest.mark.parametrize("angle", [0.0, 1.0, np.pi / 64, np.pi])
def test_a_zero_near_the_circle_counts_on_its_side(gap: float, angle: float):
    def zero(radius: float) -> complex:
        return complex(round(radius * np.cos(angle), 15), round(radius * np.sin(angle), 15) if angle else 0)

    double = 2 if zero(1).imag else 1
    others = np.random.default_rng(0).normal(size=48) + 20 * (np.arange(48) == 0)
    assert symbol_index(np.convolve(others, from_zeros([zero(1 + gap)]))).index == 0
    assert symbol_index(np.convolve(others, from_zeros([zero(1 - gap)]))).index == -double


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(st.floats(3, 9), st.sampled_from([-1, 1]), st.floats(0, np.pi), st.booleans()),
        min_size=1,
        max_size=5,
    )
)
def test_never_certified_falsely(drawn):
    """Zeros 1e-3 to 1e-9 off the circle, rounded into taps, against exact arithmetic on those taps."""
    zeros = []
    for exponent, side, angle, real in drawn:
        radius = 1 + side * 10**-exponent
        zeros.append(complex(radius) if real else radius * np.exp(1j * angle))
    kernel = from_zeros(zeros)
    exact = exact_zeros_inside(kernel)
    assume(exact is not None)
    found = symbol_index(kernel)
    assert found.zeros_inside in (exact, None)
    if len(zeros) == 1:
        assert found.certified


def test_random_zeros_off_the_circle():
    rng = np.random.default_rng(1)
    for _ in range(50):
        count = rng.integers(1, 21)
        inside = rng.random(count) < 0.5
        radii = np.where(inside, rng.uniform(0.3, 0.98, count), rng.uniform(1.02, 2, count))
        pairs = radii * np.exp(1j * rng.uniform(0.1, 3, count))
        assert symbol_index(from_zeros(pairs)).index == -2 * inside.sum()


@pytest.mark.parametrize("length", [2, 3, 64, 129, 256])
def test_random_kernels_agree_with_their_roots(length: int):
    rng = np.random.default_rng(length)
    for _ in range(6):
        kernel = rng.normal(size=length)
        found, roots = symbol_index(kernel), count_roots(kernel)
        assert roots.near == 0
        assert found.zeros_inside == roots.inside


@pytest.mark.parametrize("length", [512, 2048])
def test_long_random_kernels_are_certified_by_halving_few_arcs(length: int):
    rng = np.random.default_rng(length)
    for _ in range(6):
        kernel = rng.normal(size=length)
        found = symbol_index(kernel)
        assert found.certified
        assert -0.6 * length < found.index < -0.4 * length
        assert 16 * length < found.samples < 18 * length
        assert symbol_index(kernel[::-1]).index == -(length - 1) - found.index


def test_a_product_adds_the_indices():
    rng = np.random.default_rng(2)
    for _ in range(10):
        a, b = rng.normal(size=rng.integers(2, 60)), rng.normal(size=rng.integers(2, 60))
        assert symbol_index(np.convolve(a, b)).index == symbol_index(a).index + symbol_index(b).index


def test_kernels_of_index_zero_by_theorem():
    """A first tap above all others together (Rouché); taps that fall and are positive (Eneström, Kakeya)."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=512)
    noise[0] = 1.001 * np.abs(noise[1:]).sum()
    assert symbol_index(noise).index == 0
    assert symbol_index(np.sort(rng.random(300))[::-1]).index == 0


def test_the_index_does_not_depend_on_scale_or_sign():
    kernel = np.random.default_rng(4).normal(size=100)
    plain, scaled = symbol_index(kernel), symbol_index(-1e-30 * kernel)
    assert scaled.index == plain.index
    assert scaled.distance == pytest.approx(plain.distance)
    assert scaled.max_modulus == pytest.approx(1e-30 * plain.max_modulus)


def test_the_largest_modulus_is_bounded_between_samples():
    rng = np.random.default_rng(5)
    for length in (1, 2, 7, 64):
        kernel = rng.normal(size=length)
        dense = np.abs(np.fft.fft(kernel, 1 << 18)).max()
        assert dense <= largest_modulus(kernel) <= 1.005 * dense


@pytest.mark.parametrize("kernel", [[], [[1.0]], [1.0, np.nan], [np.inf], [1j], ["a"]])
def test_what_is_no_kernel_is_refused(kernel):
    with pytest.raises(InputError, match="kernel"):
        symbol_index(kernel)
