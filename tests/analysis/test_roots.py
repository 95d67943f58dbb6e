import numpy as np
import pytest
from known_kernels import GROWING, SHRINKING, TWO_AND_ONE

from tmt.analysis import RootCount, count_roots
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
    assert count_roots([1, -1 - 1e-7]).near == 1


def test_refusals():
    with pytest.raises(InputError, match="257 taps"):
        count_roots(np.ones(257))
    with pytest.raises(InputError, match="zeros"):
        count_roots(np.zeros(3))
