"""The lanes: what each weight does, and in which type."""

import pytest
import torch

from tmt.layers.residual_lanes import ResidualLanes


def test_every_weight_has_its_place():
    lanes = ResidualLanes(3, 1.0).double()
    torch.nn.init.normal_(lanes.retention)
    torch.nn.init.normal_(lanes.exchange)
    h, g, a, m = torch.randn(4, 5, 2, dtype=torch.float64)
    first, second = lanes(1, (h, g), a, m)
    (keep_h, keep_g), p = lanes.retention[1], lanes.exchange[1]
    torch.testing.assert_close(first, keep_h * h + p[0, 0] * a + p[1, 0] * m)
    torch.testing.assert_close(second, keep_g * g + p[0, 1] * a + p[1, 1] * m)
    first.sum().backward()
    assert not lanes.retention.grad[[0, 2]].any()
    assert not lanes.exchange.grad[[0, 2]].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_the_start_updates_enter_whole_and_lanes_keep_the_retention(dtype: torch.dtype):
    lanes, (h, g, a, m) = ResidualLanes(2, 1.5), torch.randn(4, 5, 2, dtype=dtype)
    for lane, after in zip((h, g), lanes(0, (h, g), a, m), strict=True):
        assert after.dtype == dtype
        torch.testing.assert_close(after, 1.5 * lane + a + m)
