"""Models whose kernels become states."""

from itertools import pairwise

import pytest
import torch

from tmt.convert import to_state
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer


def model_with(taps: torch.Tensor) -> ToeplitzMixer:
    """One layer with that kernel (n,)."""
    sizes = dict(vocab_size=5, d_model=4, n_heads=1, n_layers=1, ffn_dim=4)
    model = ToeplitzMixer(ToeplitzConfig(kernel="raw", kernel_length=len(taps), **sizes))
    with torch.no_grad():
        model.blocks[0].mixer.convolutions[0].kernel.weight.copy_(taps)
    return model


@pytest.mark.parametrize("power", [1, 2, 3])
def test_more_oscillations_than_float32_can_tell_apart_do_no_harm(power: int):
    """Poles of higher order are near poles with huge coefficients that cancel."""
    k = torch.arange(128.0)
    taps = k**power * 0.9**k
    model = model_with(taps / taps.max())
    errors = [to_state(model, rank, head=0)[1][0].relative_l1 for rank in (2, 4, 8, 16, 32)]
    assert all(more <= fewer for fewer, more in pairwise(errors))
    assert errors[-1] < 2e-3
