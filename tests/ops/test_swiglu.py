"""The compiled product inside a SwiGLU equals the readable one, values and gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.feed_forward import SwiGLU
from tmt.ops import swiglu

pytestmark = pytest.mark.skipif(not swiglu.available(torch.zeros(1, 16)), reason="no C compiler")


def run(function, gate: Tensor, inner: Tensor) -> list[Tensor]:
    """Value and gradients."""
    gate, inner = gate.detach().requires_grad_(), inner.detach().requires_grad_()
    y = function(gate, inner)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * direction).sum(), (gate, inner))]


def readable(gate: Tensor, inner: Tensor) -> Tensor:
    return F.silu(gate) * inner


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("rows", [0, 1, 7, 500])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_it_equals_the_readable_form(rows: int, dtype: torch.dtype, tolerance: float):
    gate, inner = ((4 * torch.randn(rows, 48)).to(dtype) for _ in range(2))
    expected = run(readable, gate.double(), inner.double())
    for actual, value in zip(run(swiglu.swiglu, gate, inner), expected, strict=True):
        torch.testing.assert_close(actual.double(), value, rtol=tolerance, atol=tolerance)


def test_extreme_gates_are_shut_or_open():
    gate = torch.tensor([-1e30, -100.0, -89.0, 0.0, 20.0, 89.0, 100.0, 1e30] * 2)[None]
    value, by_gate, by_inner = run(swiglu.swiglu, gate, torch.ones(1, 16))
    torch.testing.assert_close(value, gate.clamp(min=0))
    assert by_gate.isfinite().all() and by_inner.isfinite().all()
    assert swiglu.swiglu(torch.full((1, 16), torch.nan), torch.ones(1, 16)).isnan().all()


def test_factors_that_are_not_contiguous_are_read_right():
    gate, inner = torch.randn(2, 32, 16).mT, torch.randn(2, 16, 32)
    for actual, value in zip(run(swiglu.swiglu, inner, gate), run(readable, inner, gate), strict=True):
        torch.testing.assert_close(actual, value)


def test_any_number_of_threads_gives_the_same_bits(threads: Callable[[int], None]):
    gate, inner = torch.randn(600, 64), torch.randn(600, 64)
    threads(1)
    one = run(swiglu.swiglu, gate, inner)
    threads(2)
    two = run(swiglu.swiglu, gate, inner)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_layer_keeps_three_tensors_of_its_width():
    layer, kept = SwiGLU(32, 4096), set()

    def keep(tensor: Tensor) -> Tensor:
        kept.add((tensor.data_ptr(), tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.randn(4, 32)).sum()
    assert sum(shape == (4, 4096) for _, shape in kept) == 3  # both factors and their product


def test_other_types_and_widths_are_left_to_pytorch():
    assert not swiglu.available(torch.zeros(1, 16, dtype=torch.float64))
    assert not swiglu.available(torch.zeros(1, 17))
