"""The compiled gated GELU equals the readable one, values and gradients, on any number of threads."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.ops import gelu

pytestmark = pytest.mark.skipif(not gelu.available(torch.zeros(1, 16)), reason="no C compiler")


def run(x: Tensor, gate: Tensor) -> list[Tensor]:
    """Value and gradients."""
    value = gelu.value(x, gate)
    *gradients, again = gelu.gradients(direction(value), x, gate)
    assert torch.equal(again, value)
    return [value, *gradients]


def direction(value: Tensor) -> Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(1)).to(value.dtype)


def readable(x: Tensor, gate: Tensor) -> list[Tensor]:
    x, gate = x.detach().requires_grad_(), gate.detach().requires_grad_()
    value = F.gelu(x) * gate[:, None].to(x.dtype)
    return [value.detach(), *torch.autograd.grad(value, (x, gate), direction(value))]


@pytest.mark.usefixtures("poisoned", "lanes")
@pytest.mark.parametrize("rows", [0, 1, 7, 200])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_it_equals_the_readable_form(rows: int, dtype: torch.dtype, tolerance: float):
    x, gate = (4 * torch.randn(rows, 48)).to(dtype), torch.rand(rows)
    expected = readable(x.double(), gate.double())
    for actual, value in zip(run(x, gate), expected, strict=True):
        size = max(1.0, value.abs().max().item()) if value.numel() else 1.0
        torch.testing.assert_close(actual.double(), value, rtol=0, atol=tolerance * size)


@pytest.mark.usefixtures("lanes")
def test_extreme_inputs_are_zero_or_themselves():
    x = torch.tensor([-1e30, -100.0, -20.0, 0.0, 20.0, 100.0, 1e30, torch.inf] * 2)[None]
    expected = x.clamp(min=0)
    torch.testing.assert_close(gelu.value(x, torch.ones(1)), expected)
    assert gelu.value(torch.full((1, 16), torch.nan), torch.ones(1)).isnan().all()


def test_any_number_of_threads_gives_the_same_bits(threads: Callable[[int], None]):
    x, gate = torch.randn(300, 64), torch.rand(300)
    threads(1)
    one = run(x, gate)
    threads(2)
    two = run(x, gate)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_other_types_and_widths_are_left_to_pytorch():
    assert not gelu.available(torch.zeros(1, 16, dtype=torch.float64))
    assert not gelu.available(torch.zeros(1, 17))
