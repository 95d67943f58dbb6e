"""A decoding step of a TMT layer for one row in a native call; the layer's own forward pass says the same."""

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.feed_forward import DualStreamFFN, SwiGLU
from tmt.layers.mesh_attention import Carry, MeshAttention
from tmt.layers.rotary import Rotation
from tmt.layers.row_step import Plan, RowStep, gated_unit_weights, head_weights
from tmt.model.block import TMTBlock

_STREAMS = ("syntax", "semantics", "syntax_output", "semantics_output")


def plan(block: TMTBlock) -> Plan | None:
    """What :func:`step` needs; None for layers without a graph of routing vectors as they are projected, with
    a channel decay, or of streams that read the same."""
    attention, ffn = block.attention, block.ffn
    usual = isinstance(attention, MeshAttention) and attention.routing is not None
    if not usual or attention.chooser.is_own or attention.graph.kind != "knn":
        return None
    if attention.bilinear is not None or block.channel_decay:
        return None
    weights = head_weights("attention_norm", "attention.heads")
    weights |= {"route": "attention.routing.weight", "gain": "attention.similarity_gain"}
    if attention.forget is not None:
        weights |= {f"forget_{part}": f"attention.forget.proj.{part}" for part in ("weight", "bias")}
    if isinstance(ffn, SwiGLU):
        hidden = ffn.inner.out_features
        weights |= gated_unit_weights("ffn_norm", "ffn")
    elif isinstance(ffn, DualStreamFFN) and block.local is not None:
        hidden = ffn.syntax.out_features
        weights |= {"ffn_norm": "ffn_norm.weight", "local_norm": "local_norm.weight", "mix": "local.weight"}
        weights |= {"stream_gate": "ffn.gate.weight", "stream_gate_bias": "ffn.gate.bias"}
        weights |= {stream: f"ffn.{stream}.weight" for stream in _STREAMS}
    else:
        return None
    graph = attention.graph
    return Plan(
        block,
        attention.heads,
        weights,
        hidden=hidden,
        routing=attention.routing_width,
        slots=graph.width,
        window=graph.window,
        k_neighbours=graph.k,
        block=graph.block,
        k_global=graph.k_global,
        exact_until=graph.exact_until,
        successors=graph.successors,
        builds=attention.builds_graph,
        rotated_anchors=attention.anchor_query == "rotated",
    )


def step(
    block: TMTBlock,
    plan: Plan,
    x: Tensor,
    gain: Tensor | None,
    carry: Carry | None,
    rotation: Rotation,
    cache: Cache,
    anchors: Tensor | None,
) -> tuple[Tensor, Carry]:
    """The block for the next token x (1, D) of a single row, and what the token carries on.

    x is changed in place; `gain` (1,) float32 multiplies the layer's updates.
    """
    attention, row = block.attention, RowStep(plan, x, rotation, cache)
    if gain is not None:
        row.place("boost", gain)
    _, k, v = row.heads()
    forget = neighbours = None
    if attention.decay is not None:
        row.place("decay_rate", attention.decay.rates())
    if attention.forget is not None:
        forget = row.place("forget", x.new_empty(1, attention.heads.n_heads))
        row.place("forget_total", cache.opened(torch.float64))
        row.buffer("forget_k")
    routing = row.buffer("routing_k")
    if attention.builds_graph:
        row.buffer("means", cache.reach // attention.graph.block)
        neighbours = torch.empty(1, attention.graph.width, dtype=torch.int32)
    elif carry is not None:
        neighbours = carry.neighbours
    if neighbours is None:
        row.layer.slots = 0
    else:
        row.place("neighbours", neighbours)
    if anchors is not None:
        keys, values = attention.project(anchors, cache)
        row.layer.anchors = keys.shape[1]
        row.place("anchor_k", keys.to(x.dtype).contiguous())
        row.place("anchor_v", values.to(x.dtype).contiguous())
    if block.local is not None:
        row.place("tail", cache.opened(torch.float32))
    carry = Carry(k[0, -1:], v[0, -1:], routing[0, -1:], forget, neighbours)
    return row.run_mesh(), carry
