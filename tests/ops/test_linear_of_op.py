"""The product with an operation's value equals the plain one, and the value is not kept."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.linear import Linear
from tmt.ops import gelu, swiglu

pytestmark = pytest.mark.skipif(not swiglu.available(torch.zeros(1, 16)), reason="no C compiler")

OPS = {
    "swiglu": (swiglu, lambda gate, inner: F.silu(gate) * inner, [(20, 64), (20, 64)]),
    "gated gelu": (gelu, lambda x, gate: F.gelu(x) * gate[:, None].to(x.dtype), [(20, 64), (20,)]),
}


def draw(shapes: list[tuple[int, ...]], dtype: torch.dtype) -> tuple[Linear, list[Tensor]]:
    torch.manual_seed(0)
    rows = [torch.randn(shape, dtype=dtype if len(shape) == 2 else None) for shape in shapes]
    return Linear(64, 24, bias=False), [x.requires_grad_() for x in rows]


def run(output: Tensor, layer: Linear, inputs: list[Tensor]) -> list[Tensor]:
    """Value and gradients."""
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, (layer.weight, *inputs), direction)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", OPS)
def test_values_and_gradients(name: str, dtype: torch.dtype, tolerance: float):
    op, readable, shapes = OPS[name]
    layer, inputs = draw(shapes, dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        actual = run(layer.of(op, *inputs), layer, inputs)
        expected = run(layer(readable(*inputs)), layer, inputs)
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


@pytest.mark.parametrize("name", OPS)
def test_training_keeps_no_value(name: str):
    op, _, shapes = OPS[name]
    layer, inputs = draw(shapes, torch.float32)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        layer.of(op, *inputs)
    assert {x.data_ptr() for x in kept} == {x.data_ptr() for x in (layer.weight, *inputs)}


def test_a_frozen_weight_gets_no_gradient_and_its_inputs_do():
    layer, inputs = draw([(20, 64), (20, 64)], torch.float32)
    expected = run(layer.of(swiglu, *inputs), layer, inputs)[2:]
    layer.weight.requires_grad_(False)
    output: Any = layer.of(swiglu, *inputs)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    assert all(map(torch.equal, torch.autograd.grad(output, inputs, direction), expected))


def test_without_gradients_it_is_the_layer_itself():
    layer, inputs = draw([(3, 64), (3, 64)], torch.float32)
    seen = []
    layer.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        output = layer.of(swiglu, *inputs)
        assert torch.equal(seen[0], swiglu.value(*inputs))
        assert torch.equal(output, layer(seen[0]))
