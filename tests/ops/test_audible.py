"""What a forgetting head no longer hears is pruned from the graph: exactly that, on every path."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmt.ops.mesh import earliest_audible

PATHS = {"fused": torch.float32, "vectorised": torch.float64}


@pytest.mark.parametrize("dtype", PATHS.values(), ids=PATHS)
@given(
    seed=st.integers(0, 200), length=st.integers(1, 20), scale=st.floats(0.1, 8), floor=st.floats(-30, -0.5)
)
def test_exactly_the_inaudible_are_pruned(
    dtype: torch.dtype, seed: int, length: int, scale: float, floor: float
):
    torch.manual_seed(seed)
    total = (-scale * torch.rand(2, length, 3, dtype=dtype)).cumsum(1)
    positions = torch.stack([torch.randperm(length)[: max(1, length // 2)] for _ in range(2)])
    forget_q = total.gather(1, positions[..., None].expand(-1, -1, 3))
    earliest = earliest_audible(forget_q, total, positions, floor)
    for b, t in ((b, t) for b in range(2) for t in range(positions.shape[1])):
        bias = forget_q[b, t] - total[b, : int(positions[b, t]) + 1]
        audible = (bias >= floor).any(-1).nonzero()[:, 0]
        assert earliest[b, t] == audible[0]


@pytest.mark.parametrize("dtype", PATHS.values(), ids=PATHS)
def test_zeros_beyond_the_past_are_no_sound(dtype: torch.dtype):
    """Cache rows hold zeros after their last token; they must not look audible or hide the past."""
    total = torch.tensor([-9.0, -20.0, -25.0, 0.0, 0.0], dtype=dtype)[None, :, None]
    positions = torch.tensor([[1, 2]])
    assert earliest_audible(total[:, 1:3], total, positions, floor=-12.0).tolist() == [[0, 1]]
