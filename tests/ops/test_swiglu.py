"""The compiled product inside a SwiGLU equals the readable one, values and gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.ops import swiglu

pytestmark = pytest.mark.skipif(not swiglu.available(torch.zeros(1, 16)), reason="no C compiler")


def run(gate: Tensor, inner: Tensor) -> list[Tensor]:
    """Value and gradients."""
    value = swiglu.value(gate, inner)
    *gradients, again = swiglu.gradients(direction(value), gate, inner)
    assert torch.equal(again.nan_to_num(), value.nan_to_num())
    return [value, *gradients]


def direction(value: Tensor) -> Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value.dtype)


def readable(gate: Tensor, inner: Tensor) -> list[Tensor]:
    gate, inner = gate.detach().requires_grad_(), inner.detach().requires_grad_()
    value = F.silu(gate) * inner
    return [value.detach(), *torch.autograd.grad(value, (gate, inner), direction(value))]


@pytest.mark.usefixtures("poisoned", "lanes")
@pytest.mark.parametrize("rows", [0, 1, 7, 500])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_it_equals_the_readable_form(rows: int, dtype: torch.dtype, tolerance: float):
    gate, inner = ((4 * torch.randn(rows, 48)).to(dtype) for _ in range(2))
    expected = readable(gate.double(), inner.double())
    for actual, value in zip(run(gate, inner), expected, strict=True):
        torch.testing.assert_close(actual.double(), value, rtol=tolerance, atol=tolerance)


def test_extreme_gates_are_shut_or_open():
    gate = torch.tensor([-1e30, -100.0, -89.0, 0.0, 20.0, 89.0, 100.0, 1e30] * 2)[None]
    value, by_gate, by_inner = run(gate, torch.ones(1, 16))
    torch.testing.assert_close(value, gate.clamp(min=0))
    assert by_gate.isfinite().all()
    assert by_inner.isfinite().all()
    assert swiglu.value(torch.full((1, 16), torch.nan), torch.ones(1, 16)).isnan().all()


def test_factors_that_are_not_contiguous_are_read_right():
    gate, inner = torch.randn(2, 32, 16).mT, torch.randn(2, 16, 32)
    for actual, value in zip(run(inner, gate), readable(inner, gate), strict=True):
        torch.testing.assert_close(actual, value)


def test_any_number_of_threads_gives_the_same_bits(threads: Callable[[int], None]):
    gate, inner = torch.randn(600, 64), torch.randn(600, 64)
    threads(1)
    one = run(gate, inner)
    threads(2)
    two = run(gate, inner)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_other_types_and_widths_are_left_to_pytorch():
    assert not swiglu.available(torch.zeros(1, 16, dtype=torch.float64))
    assert not swiglu.available(torch.zeros(1, 17))
