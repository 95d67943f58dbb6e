"""GPTQ against rounding, and the properties that pin it down."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tmt.artifact.clip import deviation_scales, largest_scales, levels
from tmt.artifact.gptq import gptq, round_rows
from tmt.errors import InputError


def draw(rows: int, columns: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight, and the Hessian of strongly correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    inputs = torch.randn(4 * columns, 3, generator=generator, dtype=torch.float64) @ mixing[:3]
    inputs += 0.1 * torch.randn(4 * columns, columns, generator=generator, dtype=torch.float64)
    return torch.randn(rows, columns, generator=generator), inputs.T @ inputs


def output_error(weight: Tensor, codes: Tensor, scales: Tensor, hessian: Tensor) -> float:
    error = weight.double() - codes * scales.double()[:, None]
    return float(((error @ hessian) * error).sum())


@given(st.integers(1, 40), st.integers(3, 50), st.integers(2, 8), st.floats(0.01, 1e6))
def test_with_independent_inputs_it_is_rounding(rows: int, columns: int, bits: int, size: float):
    weight, _ = draw(rows, columns)
    scales = deviation_scales(weight, bits, 4.0)
    codes = gptq(weight, size * torch.eye(columns), scales, bits)
    assert torch.equal(codes, round_rows(weight, scales, bits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", [3, 6])
def test_correlated_inputs_leave_less_error_than_rounding(seed: int, bits: int):
    weight, hessian = draw(24, 48, seed)
    scales = deviation_scales(weight, bits, 12.85 if bits == 6 else 3.0)
    guided = output_error(weight, gptq(weight, hessian, scales, bits), scales, hessian)
    plain = output_error(weight, round_rows(weight, scales, bits), scales, hessian)
    assert guided < 0.5 * plain


def one_by_one(weight: Tensor, hessian: Tensor, scales: Tensor, bits: int) -> Tensor:
    """The published rule in its plainest form: the inverse of all that is left, for every input."""
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian))
    weight, codes = weight.double().clone(), torch.zeros(weight.shape, dtype=torch.int8)
    left = hessian.diagonal().argsort(descending=True).tolist()
    while left:
        inverse = torch.linalg.inv(damped[left][:, left])
        column = left[0]
        codes[:, column] = round_rows(weight[:, [column]], scales, bits)[:, 0]
        error = weight[:, column] - codes[:, column] * scales.double()
        weight[:, left] -= error[:, None] * inverse[0] / inverse[0, 0]
        left = left[1:]
    return codes


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_published_rule(seed: int):
    weight, hessian = draw(12, 24, seed)
    scales = deviation_scales(weight, 4, 4.0)
    assert torch.equal(gptq(weight, hessian, scales, 4), one_by_one(weight, hessian, scales, 4))


@given(st.integers(1, 70))
def test_the_block_size_changes_nothing(block: int):
    weight, hessian = draw(12, 60)
    scales = deviation_scales(weight, 6, 12.85)
    assert torch.equal(gptq(weight, hessian, scales, 6, block), gptq(weight, hessian, scales, 6))


@given(st.permutations(range(20)))
def test_permuted_inputs_permute_the_codes(order: list[int]):
    weight, hessian = draw(8, 20)
    scales = deviation_scales(weight, 6, 12.85)
    moved = gptq(weight[:, order], hessian[order][:, order], scales, 6)
    assert torch.equal(moved, gptq(weight, hessian, scales, 6)[:, order])


@given(st.integers(2, 8), st.floats(0.5, 30))
def test_codes_stay_within_their_bits(bits: int, width: float):
    weight, hessian = draw(10, 30)
    scales = deviation_scales(10 * weight, bits, width)
    assert gptq(weight, hessian, scales, bits).abs().max() <= levels(bits)
    assert round_rows(100 * weight, scales, bits).abs().max() <= levels(bits)


def test_the_bits_of_the_record():
    assert (levels(6), levels(8)) == (31, 127)


def test_what_is_quantised_already_stays_as_it_is():
    weight, _ = draw(16, 40)
    scales = deviation_scales(weight, 6, 12.85)
    codes = gptq(weight, torch.eye(40), scales, 6)
    again = codes * scales.float()[:, None]
    assert torch.equal(gptq(again, torch.eye(40), scales, 6), codes)


def test_inputs_that_never_came_get_no_weight():
    weight, hessian = draw(8, 20)
    dead = [3, 11]
    hessian[dead] = hessian[:, dead] = 0
    codes = gptq(weight, hessian, deviation_scales(weight, 6, 12.85), 6)
    assert not codes[:, dead].any()
    assert codes[:, [0, 19]].any()


def test_a_singular_hessian_is_damped_until_it_can_be_inverted():
    weight, _ = draw(8, 20)
    hessian = torch.ones(20, 20) - 0.5 * torch.eye(20)  # one large eigenvalue, the others negative
    scales = deviation_scales(weight, 8, 20.0)
    error = weight - gptq(weight, hessian, scales, 8) * scales.float()[:, None]
    assert error.norm() < weight.norm()


def test_a_hessian_of_nothing_finite_is_refused():
    weight, hessian = draw(8, 20)
    with pytest.raises(InputError, match="Hessian cannot be inverted"):
        gptq(weight, hessian * torch.nan, deviation_scales(weight, 6, 12.85), 6)


def test_rows_of_zeros_stay_zeros():
    weight, hessian = draw(4, 20)
    weight[2] = 0
    for scales in (deviation_scales(weight, 6, 12.85), largest_scales(weight, 6)):
        assert scales.dtype == torch.float16
        assert (scales > 0).all()
        assert not gptq(weight, hessian, scales, 6)[2].any()
