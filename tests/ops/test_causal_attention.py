"""Blocked dense attention equals `scaled_dot_product_attention`."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.attention import dense_causal_attention
from tmt.ops import causal_attention as op
from tmt.ops.causal_attention import causal_attention


def draw(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(length)
    return [torch.randn(2, length, 3, 4, dtype=dtype, requires_grad=True) for _ in range(3)]


def reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    heads = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)


@pytest.mark.parametrize("length", [1, 4, 5, 13])
def test_values_and_gradients(length: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(op, "BLOCK", 4)
    inputs = draw(length)
    actual, expected = causal_attention(*inputs), reference(*inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    grad = torch.randn_like(actual)
    torch.testing.assert_close(
        torch.autograd.grad(actual, inputs, grad),
        torch.autograd.grad(expected, inputs, grad),
        rtol=1e-12,
        atol=1e-12,
    )


def test_bfloat16_on_the_cpu_takes_this_path_within_its_rounding(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(op, "BLOCK", 16)
    monkeypatch.setattr("tmt.machine.multiplies_bf16", lambda device: True)
    q, k, v = draw(60, torch.bfloat16)
    output = dense_causal_attention(q, k, v, torch.arange(60).expand(2, -1))
    assert "CausalAttention" in output.grad_fn.next_functions[0][0].next_functions[0][0].name()
    torch.testing.assert_close(output, reference(q, k, v), rtol=0.02, atol=0.02)


def test_no_weight_falls_on_a_later_key():
    q, k, v = (x.detach() for x in draw(200, torch.bfloat16))
    before = causal_attention(q, k, v)
    k[:, 150:], v[:, 150:] = torch.nan, torch.nan
    after = causal_attention(q, k, v)
    assert torch.equal(after[:, :128], before[:, :128])
