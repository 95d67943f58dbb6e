"""The fused local mix equals the readable form."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tmt.layers.feed_forward import LocalMix
from tmt.layers.norm import RMSNorm
from tmt.ops import local_mix, native

pytestmark = [
    pytest.mark.skipif(native._compiler() is None, reason="no C compiler"),
    pytest.mark.usefixtures("poisoned"),
]

SHAPES = {
    "one token": (1, 1, 16),
    "rows": (3, 70, 48),
    "shorter than the mix": (2, 2, 16),
    "pieces": (2, 300, 48),
}
SUBSETS = {"all": None, "some": slice(None, None, 3), "last": slice(-1, None), "none": slice(0)}
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (0.02, 0.02)}


def results(
    x: Tensor, tail: Tensor, weight: Tensor, index: Tensor | None, grad: Tensor, gain: Tensor | None = None
) -> tuple[Tensor, ...]:
    """The mix, normalised with a gain, and the gradients of x, tail, weight and gain."""
    mix, norm = LocalMix(weight.shape[1]), None
    mix.weight = torch.nn.Parameter(weight)
    leaves = [x.clone().requires_grad_(), tail.clone().requires_grad_(), mix.weight]
    if gain is not None:
        norm = RMSNorm(len(gain), 1e-5)
        norm.weight = torch.nn.Parameter(gain)
        leaves.append(norm.weight)
    y = mix(*leaves[:2], index, norm)
    return y, *torch.autograd.grad(y, leaves, grad)


def case(shape: tuple[int, int, int], asked: slice | None, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Arguments of `results`."""
    batch, length, width = shape
    index = None if asked is None else torch.arange(batch * length)[asked]
    count = batch * length if index is None else len(index)
    x, tail = torch.randn(shape).to(dtype), torch.randn(batch, 3, width).to(dtype)
    return x, tail, torch.randn(4, width), index, torch.randn(count, width).to(dtype)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize(
    ("shape", "asked"),
    [
        ("one token", "all"),
        ("one token", "none"),
        ("shorter than the mix", "last"),
        ("rows", "some"),
        ("pieces", "all"),
        ("pieces", "some"),
    ],
)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("normed", [False, True], ids=["plain", "normed"])
def test_values_and_gradients(shape: str, asked: str, dtype: torch.dtype, normed: bool):
    x, tail, weight, index, grad = case(SHAPES[shape], SUBSETS[asked], dtype)
    gain = torch.rand(x.shape[-1]) + 0.5 if normed else None
    assert local_mix.available(x, weight)
    exact_gain = None if gain is None else gain.double()
    exact = results(x.double(), tail.double(), weight.double(), index, grad.double(), exact_gain)
    fused = results(x, tail, weight, index, grad, gain)
    assert [t.dtype for t in fused] == [dtype] * 3 + [torch.float32] * (1 + normed)
    near, near_gradient = TOLERANCE[dtype]
    torch.testing.assert_close(fused[0], exact[0], rtol=near, atol=near, check_dtype=False)
    for actual, expected in zip(fused[1:], exact[1:], strict=True):
        size = max(1.0, expected.abs().max().item()) if normed and expected.numel() else 1.0
        torch.testing.assert_close(
            actual, expected, rtol=near_gradient, atol=near_gradient * size, check_dtype=False
        )


@pytest.mark.parametrize("asked", [None, SUBSETS["some"]], ids=["all", "some"])
def test_results_do_not_depend_on_the_number_of_threads(asked: slice | None, threads: Callable[[int], None]):
    inputs, found = (*case((3, 300, 64), asked, torch.float32), torch.rand(64)), []
    for count in (1, 2):
        threads(count)
        found.append(results(*inputs))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_inputs_need_not_be_contiguous_nor_the_weight_in_float32():
    x, tail, weight, index, grad = case((2, 20, 32), SUBSETS["some"], torch.float32)
    weight = weight.bfloat16()
    strided = (t.transpose(0, 1).contiguous().transpose(0, 1) for t in (x, tail))
    fused = results(*strided, weight, index, grad.t().contiguous().t())
    assert fused[3].dtype == torch.bfloat16
    for actual, expected in zip(fused, results(x, tail, weight, index, grad), strict=True):
        assert torch.equal(actual, expected)


def test_a_normalised_mix_is_not_kept():
    mix, norm, x, tail = LocalMix(32), RMSNorm(32, 1e-5), torch.randn(2, 50, 32), torch.randn(2, 3, 32)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        mix(x.requires_grad_(), tail, None, norm)
    assert {t.data_ptr() for t in kept if t.numel() >= x.numel()} == {x.data_ptr()}


def test_what_is_not_available():
    assert not local_mix.available(torch.zeros(2, 64, dtype=torch.float64), torch.zeros(4, 64))
    assert not local_mix.available(torch.zeros(2, 40), torch.zeros(4, 40))
