"""Mesh attention, the choice of neighbours included, against torch's dense causal attention."""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.bench.causal import HEADS, WIDTH, heads_first, sdpa
from tmt.bench.op import Op, Parts
from tmt.layers.decay import head_rates
from tmt.ops.mesh import (
    Anchors,
    ForgetBias,
    GraphSpec,
    MeshInputs,
    SimilarityBias,
    anchor_scores,
    attention_impl,
    build_graph,
    earliest_audible,
    graph_impl,
    mesh_attention,
)

ROUTING, ANCHORS = 32, 16
SPEC = GraphSpec(k=8, window=16, successors=True)
SMALL_SPEC = replace(SPEC, block=4, k_global=2, exact_until=24)
"""The same graph over shorter distances, so that a short sequence takes every path."""
SMALL_LENGTH = 48
ROUTING_GRID = 8
"""Parity is checked with routing vectors of multiples of 1/8: similarities are exact, one graph is right."""


def assemble(parts: Parts, spec: GraphSpec, impl: str | None) -> MeshInputs:
    """The inputs of the attention, neighbours chosen."""
    q, routing_q, routing_k = (parts[name] for name in ("q", "routing_q", "routing_k"))
    positions = torch.arange(q.shape[1], device=q.device).expand(q.shape[:2]).contiguous()
    earliest = earliest_audible(parts["forget_q"], parts["forget_k"], positions)
    return MeshInputs(
        q=q,
        k=parts["k"],
        v=parts["v"],
        positions=positions,
        window=spec.window,
        neighbours=build_graph(routing_q, routing_k, positions, spec, earliest, impl=impl),
        similarity=SimilarityBias(routing_q, routing_k, parts["gain"]),
        forget=ForgetBias(parts["forget_q"], parts["forget_k"]),
        anchors=Anchors(anchor_scores(q, parts["anchor_k"]), parts["anchor_v"]),
    )


def attend(parts: Parts, spec: GraphSpec = SPEC, impl: str | None = None) -> Tensor:
    """What the layer runs between its projections: (B, T, H, E)."""
    return mesh_attention(assemble(parts, spec, impl), impl)[0]


def choice(parts: Parts) -> str:
    """The paths that the library takes for the attention and, where it is another, for the graph."""
    paths = (attention_impl(parts["q"], SPEC.window), graph_impl(parts["routing_q"], SPEC))
    return " + ".join(dict.fromkeys(paths))


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """Random tensors of the types the layer makes: unit routing vectors, gates at their starting rates."""
    torch.manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, device=device)

    routing = F.normalize(normal(batch, length, ROUTING), dim=-1).to(dtype)
    steps = torch.arange(length, device=device)[:, None].expand(batch, length, 1)
    gates = -steps * head_rates(HEADS, fastest=0.1).to(device)
    return {
        **{name: normal(batch, length, HEADS, WIDTH).to(dtype) for name in ("q", "k", "v")},
        **{name: normal(1, ANCHORS, HEADS, WIDTH).to(dtype) for name in ("anchor_k", "anchor_v")},
        "routing_q": routing,
        "routing_k": routing.clone(),
        "gain": torch.ones(HEADS, device=device),
        "forget_q": gates,
        "forget_k": gates.clone(),
    }


def draw_small(dtype: torch.dtype, device: torch.device) -> Parts:
    """A short sequence with routing vectors on a grid."""
    parts = draw(1, SMALL_LENGTH, dtype, device)
    return parts | on_grid(parts)


def on_grid(parts: Parts) -> Parts:
    """The routing vectors, rounded to the grid."""
    return {name: (parts[name] * ROUTING_GRID).round() / ROUTING_GRID for name in ("routing_q", "routing_k")}


MESH = Op(
    name="mesh_attention",
    choice=choice,
    draw=draw,
    ours=attend,
    peer_name="sdpa",
    peer=sdpa,
    peer_parts=heads_first,
    draw_small=draw_small,
    ours_small=partial(attend, spec=SMALL_SPEC),
    reference=partial(attend, spec=SMALL_SPEC, impl="reference"),
)
