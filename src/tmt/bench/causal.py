"""Dense causal attention: torch's, which every attention is timed against, and ours against it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.bench.op import Op, Parts
from tmt.ops.causal_attention import BLOCK, causal_attention

HEADS, WIDTH = 8, 64


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """Random queries, keys and values (B, S, H, E)."""
    torch.manual_seed(0)
    shape = (batch, length, HEADS, WIDTH)
    return {name: torch.randn(shape, device=device).to(dtype) for name in ("q", "k", "v")}


def draw_small(dtype: torch.dtype, device: torch.device) -> Parts:
    """Two blocks of queries, the second one ragged."""
    return draw(1, BLOCK + 5, dtype, device)


def heads_first(parts: Parts) -> Parts:
    """Queries, keys and values as torch's attention wants them: (B, H, S, E)."""
    return {name: parts[name].transpose(1, 2).contiguous() for name in ("q", "k", "v")}


def sdpa(parts: Parts) -> Tensor:
    """torch's attention: (B, H, S, E)."""
    return F.scaled_dot_product_attention(parts["q"], parts["k"], parts["v"], is_causal=True)


def blocked(parts: Parts) -> Tensor:
    """Ours: (B, S, H, E)."""
    return causal_attention(parts["q"], parts["k"], parts["v"])


def reference(parts: Parts) -> Tensor:
    """torch's attention in our layout: (B, S, H, E)."""
    return sdpa(heads_first(parts)).transpose(1, 2)


CAUSAL = Op(
    name="causal_attention",
    choice=lambda parts: "blocked",
    draw=draw,
    ours=blocked,
    peer_name="sdpa",
    peer=sdpa,
    peer_parts=heads_first,
    draw_small=draw_small,
    ours_small=blocked,
    reference=reference,
)
