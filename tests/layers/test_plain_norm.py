"""The norm without a gain: its root mean square, and that the fused path is the plain one."""

import pytest
import torch

from tmt.layers.norm import PlainRMSNorm
from tmt.ops import norm


@pytest.mark.parametrize("width", [6, 64])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_root_mean_square_is_the_scale(width: int, scale: float):
    x = 7 * torch.randn(5, 3, width)
    rms = PlainRMSNorm(1e-7, scale)(x).square().mean(-1).sqrt()
    torch.testing.assert_close(rms, torch.full((5, 3), scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_path_is_the_plain_one(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    x, direction = torch.randn(2, 40, 64, dtype=dtype)
    results = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr(norm, "available", lambda x: False)
        leaf = x.clone().requires_grad_()
        y = PlainRMSNorm(2**-23, 0.5)(leaf)
        assert y.dtype == dtype
        (gradient,) = torch.autograd.grad((y * direction).sum(), leaf)
        results.append((y.detach(), gradient))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(
            a, b, rtol=0.02 if dtype == torch.bfloat16 else 1e-5, atol=1e-2 * (dtype == torch.bfloat16) + 1e-6
        )
