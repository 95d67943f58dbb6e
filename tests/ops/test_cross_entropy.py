"""The chunked linear cross-entropy equals F.cross_entropy of the linear logits."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops import native
from tmt.ops.cross_entropy import chunked, fused, linear_cross_entropy, softcapped, token_nll


def draw(
    rows: int, ignored: float = 0.3, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(rows, 6, dtype=dtype, requires_grad=True)
    weight = torch.randn(17, 6, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, 17, (rows,))
    return x, weight, targets.masked_fill(torch.rand(rows) < ignored, -100)


@given(seed=st.integers(0, 100), rows=st.integers(1, 23), block=st.integers(1, 9), ignored=st.floats(0, 0.9))
def test_values_and_gradients(seed: int, rows: int, block: int, ignored: float):
    torch.manual_seed(seed)
    x, weight, targets = draw(rows, ignored)
    targets[0] = 3
    expected = F.cross_entropy(F.linear(x, weight), targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "_block_rows", lambda weight: block)
        actual = linear_cross_entropy(x, weight, targets)
        nll = token_nll(x, weight, targets)
        with torch.no_grad():
            unrecorded = linear_cross_entropy(x, weight, targets)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(unrecorded, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(nll, F.cross_entropy(F.linear(x, weight), targets, reduction="none").detach())
    for a, b in zip(
        torch.autograd.grad(3 * actual, (x, weight)),
        torch.autograd.grad(3 * expected, (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_gradcheck():
    x, weight, targets = draw(5)
    assert torch.autograd.gradcheck(lambda x, w: linear_cross_entropy(x, w, targets), (x, weight))


def test_nothing_scored_is_zero_with_zero_gradients():
    x, weight, _ = draw(7)
    targets = torch.full((7,), -100)
    loss = linear_cross_entropy(x, weight, targets)
    loss.backward()
    assert loss.item() == 0
    assert token_nll(x, weight, targets).abs().sum() == 0
    assert x.grad.abs().sum() == 0
    assert weight.grad.abs().sum() == 0


def test_rows_that_do_not_count_are_not_read():
    x, weight, targets = draw(12, ignored=0)
    expected = token_nll(x, weight, targets)
    x, targets = x.detach().clone(), targets.clone()
    x[[0, 5, 11]], targets[[0, 5, 11]] = math.nan, -100
    expected[[0, 5, 11]] = 0
    torch.testing.assert_close(token_nll(x, weight, targets), expected)


def test_another_ignore_index():
    x, weight, targets = draw(9, ignored=0)
    targets[4:] = 0
    expected = F.cross_entropy(F.linear(x, weight), targets, ignore_index=0)
    torch.testing.assert_close(linear_cross_entropy(x, weight, targets, ignore_index=0), expected)


@pytest.mark.parametrize("frozen", ["x", "weight"])
def test_one_side_may_be_frozen(frozen: str):
    x, weight, targets = draw(9)
    live = weight if frozen == "x" else x
    (x if frozen == "x" else weight).requires_grad_(False)
    expected = torch.autograd.grad(F.cross_entropy(F.linear(x, weight), targets), live)
    torch.testing.assert_close(torch.autograd.grad(linear_cross_entropy(x, weight, targets), live), expected)


def test_large_logits_stay_finite():
    x, weight, targets = draw(9, dtype=torch.float32)
    loss = linear_cross_entropy(x * 1e4, weight * 1e4, targets)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, (x, weight)))


def test_under_autocast_the_softmax_stays_in_single_precision():
    x, weight, targets = draw(40, dtype=torch.float32)
    exact = F.cross_entropy(F.linear(x, weight), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(x, weight, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0.02)
    for a, b in zip(
        torch.autograd.grad(loss, (x, weight)), torch.autograd.grad(exact, (x, weight)), strict=True
    ):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.01)


def test_no_block_holds_all_logits():
    assert chunked._block_rows(torch.empty(50257, 1)) * 50257 < 2**25
    assert chunked._block_rows(torch.empty(1024, 1)) * 1024 <= chunked.BLOCK_ELEMENTS


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [1, 15, 16, 50])
@pytest.mark.parametrize("softcap", [None, 30.0, 1.5])
def test_the_fused_gradient_equals_the_plain_one(
    columns: int, dtype: torch.dtype, softcap: float | None, monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(columns)
    logits, column = (torch.randn(7, columns) * 20).to(dtype), torch.randint(columns, (7, 1))
    plain, fast = logits.clone(), logits.clone()
    assert fused.available(logits)
    nll = chunked.into_gradient(fast, column, softcap)
    monkeypatch.setattr(fused, "available", lambda logits: False)
    torch.testing.assert_close(nll, chunked.into_gradient(plain, column, softcap), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fast, plain, rtol=0.01 if dtype == torch.bfloat16 else 1e-5, atol=1e-6)


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [1, 15, 16, 50])
@pytest.mark.parametrize("softcap", [None, 30.0, 1.5])
def test_the_fused_normaliser_equals_the_plain_one(columns: int, dtype: torch.dtype, softcap: float | None):
    torch.manual_seed(columns)
    logits = (torch.randn(7, columns) * 20).to(dtype)
    kept = logits.clone()
    expected = softcapped(logits.float(), softcap).logsumexp(-1)
    torch.testing.assert_close(fused.log_sum_exp(logits, softcap), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(logits, kept)


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
def test_the_fused_softcap_takes_numbers_of_any_size():
    logits = torch.tensor([[-3e38, -1e4, -900.0, 0.0, 900.0, 1e4, 3e38]])
    nll = fused.into_gradient(logits, torch.tensor([[4]]), 30.0)
    assert float(nll) == pytest.approx(math.log(3), abs=1e-5)
    torch.testing.assert_close(logits, torch.zeros(1, 7), rtol=0, atol=1e-6)
