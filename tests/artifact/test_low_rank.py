import pytest
import torch
from packable import packer, settings

from tmt.artifact.lqer import correction
from tmt.packed import Stored


def corrected(error: torch.Tensor, rank: int) -> torch.Tensor:
    zeros = dict(codes=torch.zeros(error.shape, dtype=torch.int8), scales=torch.ones(len(error)).half())
    return Stored(torch.float32, {**zeros, **correction(error, rank)}).value()


@pytest.mark.parametrize("shape", [(40, 64), (30, 100), (100, 30)])
@pytest.mark.parametrize("rank", [1, 4, 200])
def test_the_corrected_error_is_smaller(shape: tuple[int, int], rank: int):
    error = 0.1 * torch.randn(shape)
    assert (error - corrected(error, rank)).norm() < error.norm()


def test_an_error_of_low_rank_is_mostly_gone():
    error = torch.randn(60, 2) @ torch.randn(2, 70)
    assert (error - corrected(error, 6)).norm() < 0.5 * error.norm()


def test_factors_keep_to_their_bits():
    arrays = correction(torch.randn(40, 100), 4)
    assert set(arrays["left"].unique().tolist()) <= {-1, 0, 1}
    assert arrays["right"].shape == (4, 2, 64)
    assert arrays["right"].abs().max() <= 7


def test_the_three_worst_matrices_are_corrected():
    pack = packer().pack
    plain, better = pack(settings()), pack(settings(lqer=4))
    chosen = [name for name, stored in better.tensors.items() if "left" in stored.arrays]
    assert len(chosen) == 3
    assert all(better.errors[name] < plain.errors[name] for name in chosen)
    assert better.size.total > plain.size.total
