"""The product of a few rows with a weight matrix equals PyTorch's."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.linear import Linear
from tmt.ops import linear, native
from tmt.ops.linear import fused

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}
SIZES = {"whole": (64, 48), "odd": (37, 53), "one output": (1, 70), "narrow": (19, 5), "shared": (400, 300)}


def draw(outputs: int, width: int, rows: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """x (rows, K), weight (M, K) and bias (M,), with outputs of about 1."""
    torch.manual_seed(0)
    x, weight = torch.randn(rows, width), torch.randn(outputs, width) / width**0.5
    return x.to(dtype), weight.to(dtype), torch.randn(outputs).to(dtype)


@needs_compiler
@pytest.mark.usefixtures("poisoned", "lanes")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rows", range(1, 9))
def test_values(size: str, rows: int, dtype: torch.dtype):
    x, weight, bias = draw(*SIZES[size], rows, dtype)
    assert linear.available(x, weight)
    for shift in (None, bias):
        actual = linear.few_rows(x, weight, shift)
        assert actual.dtype == dtype
        expected = F.linear(x.double(), weight.double(), None if shift is None else shift.double())
        torch.testing.assert_close(
            actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], check_dtype=False
        )


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_slices_of_larger_tensors(dtype: torch.dtype):
    x, weight, bias = draw(40, 33, 6, dtype)
    across, down = torch.randn(33, 3).to(dtype), torch.randn(2, 3, 99).to(dtype)
    for rows in (x[1:4], across.t(), down[:, :, 33:66]):
        expected = linear.few_rows(rows.clone(memory_format=torch.contiguous_format), weight, bias)
        assert torch.equal(linear.few_rows(rows, weight, bias), expected)
    part = linear.few_rows(x, weight[7:30], bias[7:30])
    assert torch.equal(part, linear.few_rows(x, weight, bias)[:, 7:30])


@needs_compiler
@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bits_depend_neither_on_threads_nor_on_company(threads: Callable[[int], None], dtype: torch.dtype):
    x, weight, bias = draw(1003, 301, 8, dtype)
    threads(1)
    together = linear.few_rows(x, weight, bias)
    for count in (1, 2, 5):
        threads(count)
        for rows in range(1, 9):
            assert torch.equal(linear.few_rows(x[:rows], weight, bias), together[:rows])
        for row in range(8):
            assert torch.equal(linear.few_rows(x[row], weight, bias), together[row])


@needs_compiler
def test_what_is_not_available():
    x, weight, _ = draw(5, 16, 8, torch.float32)
    assert linear.available(x, weight)
    assert not linear.available(torch.zeros(9, 16), weight)
    assert not linear.available(torch.zeros(0, 16), weight)
    assert not linear.available(torch.zeros(2, 24), weight)
    assert not linear.available(x, weight.to("meta"))
    assert not linear.available(x.bfloat16(), weight)
    assert not linear.available(x.double(), weight.double())
    assert not linear.available(x, torch.zeros(16, 5).t())
    assert not linear.available(x.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not linear.available(x, weight)


def test_gradients_flow_when_asked_for():
    layer, plain, x = Linear(16, 5), torch.nn.Linear(16, 5), torch.randn(2, 16)
    plain.load_state_dict(layer.state_dict())
    for module in (layer, plain):
        module(x).square().sum().backward()
    assert all(
        torch.equal(a.grad, b.grad) for a, b in zip(layer.parameters(), plain.parameters(), strict=True)
    )
    layer.requires_grad_(False)
    (grad,) = torch.autograd.grad(layer(x.requires_grad_()).sum(), x)
    torch.testing.assert_close(grad, layer.weight.sum(0).expand(2, -1))


@torch.no_grad()
def test_the_layer_without_a_compiler_gives_the_same(monkeypatch: pytest.MonkeyPatch):
    layer, x = Linear(70, 30), torch.randn(2, 3, 70)
    fast = layer(x)
    monkeypatch.setattr(native, "load", lambda source, **defines: None)
    fused._kernel.cache_clear()
    assert not linear.available(x, layer.weight)
    torch.testing.assert_close(layer(x), fast)
    fused._kernel.cache_clear()
