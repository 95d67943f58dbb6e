"""Sums of forget gates are as exact token by token as in one pass."""

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.mesh_attention import _forget_bias

LENGTH = 3000


def read(gates: Tensor, piece: int) -> Tensor:
    """The keys' sums (S, H) of gates (S, H), read in pieces."""
    state, keys = None, None
    for start in range(0, len(gates), piece):
        new = gates[start : start + piece]
        cache = Cache(torch.zeros(1, len(new), dtype=torch.long), state, None, keep=True)
        keys = _forget_bias(new, cache.positions, cache).k
        state = cache.state()
    assert keys is not None
    return keys[0, : len(gates)]


def test_a_head_that_resets_now_and_then():
    torch.manual_seed(0)
    gates = -0.01 * torch.rand(LENGTH, 2)
    gates[torch.rand(LENGTH) < 0.1, 1] = -19.7
    exact = gates.double().cumsum(0)
    spacing = torch.finfo(torch.float32).eps * exact.abs().max()
    for piece in (1, 7, LENGTH):
        assert (read(gates, piece) - exact).abs().max() <= spacing
