"""A second opinion on window and anchors: PyTorch's FlexAttention, which compiles a mask into its kernel."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tmt.bench.causal import heads_first
from tmt.bench.mesh import ANCHORS, SMALL_LENGTH, SPEC
from tmt.bench.mesh import draw as draw_mesh
from tmt.bench.op import Op, Parts
from tmt.ops.mesh import Anchors, MeshInputs, anchor_scores, attention_impl, mesh_attention

READ = ("q", "k", "v", "anchor_k", "anchor_v")


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """Queries, keys and values (B, S, H, E), and anchors (1, M, H, E)."""
    parts = draw_mesh(batch, length, dtype, device)
    return {name: parts[name] for name in READ}


def attend(parts: Parts, impl: str | None = None) -> Tensor:
    """Ours, without a graph: (B, S, H, E)."""
    q = parts["q"]
    inputs = MeshInputs(
        q=q,
        k=parts["k"],
        v=parts["v"],
        positions=torch.arange(q.shape[1], device=q.device).expand(q.shape[:2]).contiguous(),
        window=SPEC.window,
        anchors=Anchors(anchor_scores(q, parts["anchor_k"]), parts["anchor_v"]),
    )
    return mesh_attention(inputs, impl)[0]


def anchors_first(parts: Parts) -> Parts:
    """The same problem with the anchors as the first keys: (B, H, M + S, E)."""
    batch = len(parts["q"])
    joined = {
        name: torch.cat([parts[f"anchor_{name}"].expand(batch, -1, -1, -1), parts[name]], 1)
        for name in ("k", "v")
    }
    return heads_first({"q": parts["q"], **joined})


def flex(parts: Parts) -> Tensor:
    """FlexAttention, on a GPU compiled: (B, H, S, E)."""
    q = parts["q"]
    attention = _compiled() if q.device.type == "cuda" else flex_attention
    return attention(q, parts["k"], parts["v"], block_mask=block_mask(q.shape[2], q.device))


@cache
def block_mask(length: int, device: torch.device) -> BlockMask:
    """Which tiles of anchors and keys so many queries see."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = query - (key - ANCHORS)
        return (key < ANCHORS) | ((distance >= 0) & (distance < SPEC.window))

    return create_block_mask(seen, None, None, length, ANCHORS + length, device=str(device))


@cache
def _compiled():
    return torch.compile(flex_attention)


WINDOW = Op(
    name="window and anchors",
    choice=lambda parts: attention_impl(parts["q"], SPEC.window),
    draw=draw,
    ours=attend,
    peer_name="FlexAttention",
    peer=flex,
    peer_parts=anchors_first,
    draw_small=lambda dtype, device: draw(1, SMALL_LENGTH, dtype, device),
    ours_small=attend,
    reference=lambda parts: attend(parts, "reference"),
)
