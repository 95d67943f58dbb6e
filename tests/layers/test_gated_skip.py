"""The gated skip interpolates between the stream and what was saved."""

import pytest
import torch

from tmt.layers.gated_skip import GatedSkip


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_half_and_half_at_the_start(dtype: torch.dtype):
    x, skip = torch.randn(2, 5, 8, dtype=dtype)
    mixed = GatedSkip(8)(x, skip)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed, (x + skip) / 2)


def test_the_gate_chooses_a_channels_source():
    skip = GatedSkip(3).double()
    with torch.no_grad():
        skip.gate.copy_(torch.tensor([40.0, -40.0, 0.5]))
        skip.weight.copy_(torch.tensor([5.0, 2.0, 3.0]))
    x, saved = torch.randn(2, 9, 3, dtype=torch.float64)
    share = torch.tensor(0.5, dtype=torch.float64).sigmoid()
    expected = torch.stack([x[:, 0], 2 * saved[:, 1], share * x[:, 2] + (1 - share) * 3 * saved[:, 2]], 1)
    torch.testing.assert_close(skip(x, saved), expected, rtol=0, atol=1e-7)
