import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_kernels import GROWING, SHRINKING, TWO_AND_ONE

from tmt.analysis import RootCount, count_roots, symbol_index
from tmt.errors import InputError


@pytest.mark.parametrize(
    ("kernel", "inside"),
    [([2], 0), ([0, 0, 0, 1], 3), (TWO_AND_ONE, 3), (SHRINKING, 0), (GROWING, 63), ([1, -0.5, 0, 0], 0)],
)
def test_known_roots(kernel, inside: int):
    assert count_roots(kernel) == RootCount(inside, near=0)


@pytest.mark.parametrize("ratio", [0.01, 100.0])
def test_a_kernel_of_very_unequal_ends(ratio: float):
    assert count_roots(ratio ** np.arange(100)).inside == (0 if ratio < 1 else 99)


def test_roots_on_the_circle_are_named():
    assert count_roots(np.ones(64)).near == 63
    assert count_roots([1, -1]).near == 1
    assert count_roots([1, -1 - 1e-7]) == RootCount(1, near=0)


@pytest.mark.parametrize("root", [1.02, 0.98, 1.0])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_no_count_is_further_off_than_it_says(root: float, count: int):
    """Roots in one place: those that the companion matrix finds scatter by the count-th root of rounding."""
    found = count_roots(np.poly(np.full(count, root))[::-1].copy())
    truth = count if root < 1 else 0
    assert abs(found.inside - truth) <= found.near <= count
    if count == 1 and root != 1:
        assert found.near == 0


def test_ten_roots_in_one_place_are_all_uncertain():
    found = count_roots(np.poly(np.full(10, 1.02))[::-1].copy())
    assert found.near == 10


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=16).filter(any))
def test_random_kernels_are_counted_within_the_bound(kernel: list[int]):
    found, index = count_roots(kernel), symbol_index(kernel)
    if index.zeros_inside is not None:
        assert abs(found.inside - index.zeros_inside) <= found.near


def test_a_last_tap_that_is_nothing_beside_the_others():
    assert count_roots([1, 0, 4, 1e-63]) == RootCount(2, near=0)
    assert count_roots([4, 0, 1, 1e-63]) == RootCount(0, near=0)


def test_refusals():
    with pytest.raises(InputError, match="257 taps"):
        count_roots(np.ones(257))
    with pytest.raises(InputError, match="zeros"):
        count_roots(np.zeros(3))
