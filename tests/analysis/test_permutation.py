import numpy as np
import pytest

from tmt.analysis import permutation_test
from tmt.errors import InputError


def test_the_only_split_so_low():
    """Three and three values fully apart: 1 split of 20."""
    assert permutation_test([[1, 2, 3]], [[4, 5, 6]], seed=0) == pytest.approx(1 / 20, abs=0.007)
    assert permutation_test([[4, 5, 6]], [[1, 2, 3]], seed=0) == 1


def test_groups_are_exchanged_on_their_own():
    """Two groups fully apart: 1 of 20², although the second group lies wholly above the first."""
    a, b = [[1, 2, 3], [101, 102, 103]], [[4, 5, 6], [104, 105, 106]]
    assert permutation_test(a, b, seed=0, draws=40_000) == pytest.approx(1 / 400, abs=0.001)
    assert permutation_test([[*a[0], *a[1]]], [[*b[0], *b[1]]], seed=0) > 0.2


def test_equal_values_are_no_evidence():
    assert permutation_test([[0, 0, 0]], [[0, 0, 0]], seed=0) == 1
    thirds = np.full((2, 3), 1 / 3)
    assert permutation_test(thirds, np.full((2, 5), 1 / 3), seed=0) == 1


def test_other_statistics():
    """By their means the first is lower, as in half of all splits; by their medians the second, as in 66."""
    a, b = [[5, 5, 5, 5, 5]], [[1, 1, 1, 1, 1000]]
    assert permutation_test(a, b, seed=0) == pytest.approx(1 / 2, abs=0.02)
    assert permutation_test(b, a, seed=0, statistic=np.median) == pytest.approx(66 / 252, abs=0.02)


def test_chance_is_uniform():
    rng = np.random.default_rng(0)
    found = [permutation_test(*rng.normal(size=(2, 3, 4)), seed=1, draws=200) for _ in range(300)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_never_zero_and_repeatable():
    a, b = np.zeros((3, 16)), np.ones((3, 16))
    assert permutation_test(a, b, seed=3, draws=99) == 1 / 100
    c, d = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert permutation_test(c, d, seed=3, draws=99) == permutation_test(c, d, seed=3, draws=99)


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [
        ([1, 2], [3, 4], "groups, members"),
        ([[1], [2]], [[1]], "equal groups"),
        ([[np.nan]], [[1]], "finite"),
    ],
)
def test_refusals(a, b, complaint: str):
    with pytest.raises(InputError, match=complaint):
        permutation_test(a, b, seed=0)
