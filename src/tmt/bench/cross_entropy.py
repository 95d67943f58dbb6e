"""Cross-entropy of a linear head without the logits in memory, against torch's two calls."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.bench.op import Op, Parts
from tmt.ops.cross_entropy import linear_cross_entropy

WIDTH, VOCABULARY = 512, 8192
SMALL_ROWS = 600
"""Rows of the parity check: more than one block of them."""


def chunked(parts: Parts) -> Tensor:
    """Ours: mean loss in nats."""
    return linear_cross_entropy(parts["x"], parts["weight"], parts["targets"])


def dense(parts: Parts) -> Tensor:
    """All logits at once: the reference, and what a user would write."""
    return F.cross_entropy(F.linear(parts["x"], parts["weight"]).float(), parts["targets"])


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """States (B·S, WIDTH), weight (VOCABULARY, WIDTH) whose logits are of order 1, targets (B·S,)."""
    torch.manual_seed(0)
    rows = batch * length
    return {
        "x": torch.randn(rows, WIDTH, device=device).to(dtype),
        "weight": (torch.randn(VOCABULARY, WIDTH, device=device) * WIDTH**-0.5).to(dtype),
        "targets": torch.randint(VOCABULARY, (rows,), device=device),
    }


def draw_small(dtype: torch.dtype, device: torch.device) -> Parts:
    """A few blocks of rows."""
    return draw(1, SMALL_ROWS, dtype, device)


CROSS_ENTROPY = Op(
    name="linear_cross_entropy",
    choice=lambda parts: "chunked",
    draw=draw,
    ours=chunked,
    peer_name="cross_entropy(linear)",
    peer=dense,
    peer_parts=lambda parts: parts,
    draw_small=draw_small,
    ours_small=chunked,
    reference=dense,
)
