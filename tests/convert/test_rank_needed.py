import pytest
import torch
from kernel_families import exponentials, harmonic, lags, noise
from torch import Tensor

from tmt.convert import fit_exponentials, rank_needed
from tmt.errors import InputError


@pytest.mark.parametrize("tolerance", [0.3, 0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("kernel", [harmonic(256), noise(256, 0.9)], ids=["smooth", "fading noise"])
def test_it_is_enough_and_the_one_below_is_not(kernel: Tensor, tolerance: float):
    rank = rank_needed(kernel, 1, tolerance)
    assert rank is not None
    assert fit_exponentials(kernel, rank, 1).relative_l1 <= tolerance
    assert rank == 0 or fit_exponentials(kernel, rank - 1, 1).relative_l1 > tolerance


def test_known_ranks():
    three = exponentials(200, (1, 0.9), (1j, 0.8j), (0.5, 0.99 * 1j**0.1))
    assert rank_needed(three, 0, 1e-9) == 3
    assert rank_needed(lags(64) == 0, 1, 1e-9) == 0
    assert rank_needed(torch.zeros(64), 0, 1e-9) == 0
    assert rank_needed(noise(4), 8, 1e-9) == 0


def test_none_where_no_useful_rank_is_enough():
    assert rank_needed(noise(256), 1, 1e-3) is None
    assert rank_needed(harmonic(256), 1, 1e-6, largest=4) is None
    assert rank_needed(noise(1), 0, 0.1) is None


def test_ranks_that_cannot_be_enough_are_not_fitted(monkeypatch: pytest.MonkeyPatch):
    tried = []

    def counted(kernel: Tensor, rank: int, *args):
        tried.append(rank)
        return fit_exponentials(kernel, rank, *args)

    monkeypatch.setattr("tmt.convert.rank.fit_exponentials", counted)
    assert rank_needed(noise(256), 1, 1e-3) is None
    assert tried[0] == 0
    assert min(tried[1:]) > 60


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_that_no_fit_reaches_is_refused(tolerance: float):
    with pytest.raises(InputError, match="tolerance"):
        rank_needed(harmonic(16), 1, tolerance)
