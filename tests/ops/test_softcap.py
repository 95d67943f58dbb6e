"""The softcap: its bound, its slope, and cross-entropy through it."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tmt.ops.cross_entropy import chunked, linear_cross_entropy, softcapped, token_nll

CAP = 30.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_logits_stay_below_the_cap_and_small_ones_as_they_are(dtype: torch.dtype):
    logits = torch.tensor([-1e6, -50.0, -0.01, 0.0, 0.01, 50.0, 1e6], dtype=dtype)
    capped = softcapped(logits, CAP)
    assert capped.dtype == dtype
    assert capped.abs().max() <= CAP
    torch.testing.assert_close(capped[2:5], logits[2:5])
    assert (capped.diff() > 0).all()
    assert softcapped(logits, None) is logits


def test_the_slope():
    leaf = (40 * torch.randn(5, 7, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(softcapped(leaf, CAP).sum(), leaf)
    torch.testing.assert_close(slope, 1 - (softcapped(leaf, CAP) / CAP).square())


@given(seed=st.integers(0, 100), rows=st.integers(1, 23), block=st.integers(1, 9), cap=st.floats(0.5, 40))
def test_cross_entropy_of_capped_logits(seed: int, rows: int, block: int, cap: float):
    torch.manual_seed(seed)
    x = (3 * torch.randn(rows, 6, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(17, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 17, (rows,)).masked_fill(torch.rand(rows) < 0.3, -100)
    targets[0] = 3
    logits = cap * torch.tanh(F.linear(x, weight) / cap)
    expected = F.cross_entropy(logits, targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "_block_rows", lambda weight: block)
        actual = linear_cross_entropy(x, weight, targets, softcap=cap)
        nll = token_nll(x, weight, targets, softcap=cap)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(nll, F.cross_entropy(logits, targets, reduction="none").detach())
    gradients = (torch.autograd.grad(3 * loss, (x, weight)) for loss in (actual, expected))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradcheck():
    x = (3 * torch.randn(5, 6, dtype=torch.float64)).requires_grad_()
    weight, targets = torch.randn(17, 6, dtype=torch.float64, requires_grad=True), torch.arange(5)
    assert torch.autograd.gradcheck(
        lambda x, w: linear_cross_entropy(x, w, targets, softcap=2.0), (x, weight)
    )


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_in_single_precision_with_the_fused_gradient(autocast: bool):
    torch.manual_seed(0)
    x, weight = torch.randn(40, 32, requires_grad=True), torch.randn(50, 32, requires_grad=True)
    targets = torch.randint(0, 50, (40,))
    exact = F.cross_entropy(4 * torch.tanh(F.linear(x, weight) / 4), targets)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        loss = linear_cross_entropy(x, weight, targets, softcap=4.0)
    assert loss.dtype == torch.float32
    close = dict(rtol=0.1, atol=0.01) if autocast else dict(rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, exact, **close)
    gradients = (torch.autograd.grad(value, (x, weight)) for value in (loss, exact))
    for a, b in zip(*gradients, strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b, **close)
