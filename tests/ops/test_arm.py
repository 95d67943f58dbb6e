"""Every kernel compiled for 64-bit ARM (NEON, 4 lanes) gives in an emulator what it gives here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from arm import emulated
from drawing import differentiable, draw_inputs, mapped
from torch import Tensor

from tmt.ops import gelu, linear, local_mix, native, norm, swiglu
from tmt.ops.cross_entropy import fused as cross_entropy_fused
from tmt.ops.linear import fused as linear_fused
from tmt.ops.mesh import GraphSpec, block_means, build_graph, earliest_audible, mesh_attention

pytestmark = [
    pytest.mark.skipif(not emulated.available(), reason="no compiler or no emulator for ARM"),
    pytest.mark.skipif(native._compiler() is None, reason="no C compiler"),
]


def with_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, torch.randn(y.shape).to(y.dtype))]


def attention(dtype: torch.dtype) -> list[Tensor]:
    drawn = draw_inputs(2, 20, 30, 2, 12, 5, dtype=torch.float32)
    half = {id(x) for x in (drawn.q, drawn.k, drawn.v, drawn.anchors.v)}
    inputs, leaves = differentiable(mapped(drawn, lambda x: x.to(dtype) if id(x) in half else x))
    output, usage = mesh_attention(inputs, "fused")
    return [output.detach(), usage, *torch.autograd.grad(output, leaves, torch.randn(output.shape).to(dtype))]


def graph(dtype: torch.dtype) -> list[Tensor]:
    routing = (torch.randint(-8, 9, (2, 90, 16)) / 8).to(dtype)
    positions, said = torch.arange(90).repeat(2, 1), -torch.rand(2, 90, 3).cumsum(1)
    spec = GraphSpec(k=4, window=3, block=8, k_global=2, exact_until=40)
    heard = earliest_audible(said, said, positions, -8.0)
    table = build_graph(routing, routing, positions, spec, heard, impl="fused")
    return [heard, table, block_means(routing.float(), 8, 1, 3)]


def rotated_norm(dtype: torch.dtype) -> list[Tensor]:
    x, gain, angles = torch.randn(9, 3, 32).to(dtype), torch.rand(32), torch.rand(9, 16)
    return with_gradients(lambda x, g: norm.rms_norm(x, g, 1e-5, (angles.cos(), angles.sin())), x, gain)


def mix(dtype: torch.dtype) -> list[Tensor]:
    x, tail, index = torch.randn(2, 9, 16).to(dtype), torch.randn(2, 3, 16).to(dtype), torch.arange(0, 18, 2)

    def normalised(x: Tensor, tail: Tensor, weight: Tensor, gain: Tensor) -> Tensor:
        return local_mix.local_mix(x, tail, weight, index, (gain, 1e-5))

    return with_gradients(normalised, x, tail, torch.randn(4, 16), torch.rand(16))


def gated_gelu(dtype: torch.dtype) -> list[Tensor]:
    x, gate = 4 * torch.randn(7, 48).to(dtype), torch.rand(7)
    return [gelu.value(x, gate), *gelu.gradients(torch.randn(7, 48).to(dtype), x, gate)]


def gated_units(dtype: torch.dtype) -> list[Tensor]:
    gate, inner, grad = (4 * torch.randn(7, 48).to(dtype) for _ in range(3))
    return [swiglu.value(gate, inner), *swiglu.gradients(grad, gate, inner)]


def few_rows(dtype: torch.dtype) -> list[Tensor]:
    x, weight, bias = (torch.randn(*shape).to(dtype) for shape in ((5, 37), (19, 37), (19,)))
    return [linear.few_rows(x, weight, bias)]


def into_gradient(dtype: torch.dtype) -> list[Tensor]:
    logits = (20 * torch.randn(7, 50)).to(dtype)
    mass = cross_entropy_fused.log_sum_exp(logits, 30.0)
    return [mass, cross_entropy_fused.into_gradient(logits, torch.randint(50, (7, 1)), 30.0), logits]


KERNELS = [attention, graph, rotated_norm, mix, gated_gelu, gated_units, few_rows, into_gradient]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kernel", KERNELS)
def test_values_and_gradients_on_arm(
    kernel: Callable[[torch.dtype], list[Tensor]],
    dtype: torch.dtype,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    torch.manual_seed(0)
    here = kernel(dtype)
    monkeypatch.setattr(native, "load", emulated.load(tmp_path))
    linear_fused._kernel.cache_clear()
    torch.manual_seed(0)
    there = kernel(dtype)
    linear_fused._kernel.cache_clear()
    assert any(tmp_path.iterdir())
    for actual, expected in zip(there, here, strict=True):
        torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
