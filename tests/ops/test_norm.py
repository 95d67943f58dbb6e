"""The fused normalisation and rotation equals the readable form."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.norm import RMSNorm
from tmt.layers.rotary import rotate, rotation
from tmt.ops import native, norm

pytestmark = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")

EPS = 1e-5
SHAPES = {"states": (300, 192), "one row": (1, 32), "heads": (70, 3, 64), "narrow heads": (5, 2, 32)}
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.02}


def plain(x: Tensor, gain: Tensor, angles: tuple[Tensor, Tensor] | None) -> Tensor:
    y = F.rms_norm(x, gain.shape, gain, EPS)
    return y if angles is None else rotate(y, angles)


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_gradients(shape: str, dtype: torch.dtype):
    torch.manual_seed(0)
    x, grad = torch.randn(SHAPES[shape]).to(dtype), torch.randn(SHAPES[shape]).to(dtype)
    gain = torch.rand(x.shape[-1]) + 0.5
    angles = rotation(torch.arange(len(x)) * 3, len(gain), 100.0) if "heads" in shape else None
    exact = [t.double().requires_grad_() for t in (x, gain)]
    expected = plain(*exact, None if angles is None else tuple(t.double() for t in angles))
    x, gain = x.requires_grad_(), gain.requires_grad_()
    assert norm.available(x)
    actual = norm.rms_norm(x, gain, EPS, angles)
    assert actual.dtype == dtype
    tolerance = dict(rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], check_dtype=False)
    torch.testing.assert_close(actual, expected, **tolerance)
    grad_x, grad_gain = torch.autograd.grad(actual, (x, gain), grad)
    expected_x, expected_gain = torch.autograd.grad(expected, exact, grad.double())
    torch.testing.assert_close(grad_x, expected_x, **tolerance)
    torch.testing.assert_close(grad_gain, expected_gain, rtol=1e-5, atol=1e-4, check_dtype=False)


def test_the_layer_takes_either_path_and_gets_the_same(monkeypatch: pytest.MonkeyPatch):
    layer, x = RMSNorm(64), torch.randn(6, 2, 64)
    angles = rotation(torch.arange(6), 64, 100.0)
    fused = layer(x), layer(x, angles)
    monkeypatch.setattr(norm, "available", lambda x: False)
    torch.testing.assert_close(fused, (layer(x), layer(x, angles)))


@pytest.mark.usefixtures("lanes")
def test_results_do_not_depend_on_the_number_of_threads(threads: Callable[[int], None]):
    x, gain = torch.randn(1000, 64, requires_grad=True), torch.ones(64, requires_grad=True)
    results = []
    for count in (1, 3):
        threads(count)
        y = norm.rms_norm(x, gain, EPS)
        results.append((y, *torch.autograd.grad(y, (x, gain), x)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_what_is_not_available():
    assert not norm.available(torch.zeros(2, 64, dtype=torch.float64))
    assert not norm.available(torch.zeros(2, 48))
