"""Attention over a graph that is rebuilt as the text is read (specs: TMT §3)."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.attention import HeadProjections
from tmt.layers.cache import Cache
from tmt.layers.decay import DistanceDecay, ForgetGate, earliest_audible
from tmt.layers.rows import Rows
from tmt.ops.mesh import GraphSpec, MeshInputs, attention_flops, build_graph, graph_flops, mesh_attention

EVERYTHING = 2**31
"""A window no sequence outgrows: dense attention."""


@dataclass
class Carry:
    """What each token last computed, as flat grids (B·T, …): a token that left is still attended to."""

    k: Tensor
    v: Tensor
    routing: Tensor | None = None
    forget: Tensor | None = None
    neighbours: Tensor | None = None


@dataclass
class MeshResult:
    """One layer's attention."""

    update: Tensor
    """(n, D) of the running rows."""
    carry: Carry
    inputs: MeshInputs
    """What the operation read, kept for inspection."""
    anchor_weights: Tensor | None
    """(n, M), mean over heads."""


class MeshAttention(nn.Module):
    """Self, local window, graph neighbours and memory anchors in one softmax, with decay and cosine bias."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        eps: float,
        graph: GraphSpec,
        *,
        builds_graph: bool,
        routing_dim: int,
        similarity: Literal["cosine", "bilinear"],
        decay: Literal["none", "distance", "data"],
        decay_rate: float,
    ):
        super().__init__()
        self.heads = HeadProjections(d_model, n_heads, eps)
        self.graph, self.builds_graph = graph, builds_graph
        self.routed = graph.kind not in ("none", "dense") and graph.k > 0
        self.routing_width = routing_dim or d_model
        self.routing = nn.Linear(d_model, routing_dim, bias=False) if self.routed and routing_dim else None
        self.similarity_gain = nn.Parameter(torch.ones(n_heads)) if self.routed else None
        directed = self.routed and similarity == "bilinear"
        self.bilinear = nn.Parameter(torch.eye(self.routing_width)) if directed else None
        self.decay = DistanceDecay(n_heads, decay_rate) if decay == "distance" else None
        self.forget = ForgetGate(d_model, n_heads, decay_rate) if decay == "data" else None

    def forward(
        self,
        x: Tensor,
        rows: Rows,
        sources: tuple[Tensor, Rows],
        carry: Carry | None,
        cache: Cache,
        anchors: Tensor | None,
        extra_window: int = 0,
    ) -> MeshResult:
        """Attend from the running rows.

        Args:
            x: (n, D) normalised states of `rows`, the tokens that run this layer.
            sources: states and rows that compute keys and values: the same, or all tokens.
            carry: what the tokens computed before; None in the first layer.
            cache: gives the past's keys in exchange for the new ones.
            anchors: (1 or B, M, D) normalised anchors, or None.
            extra_window: tokens by which the window is wider for now (annealing).
        """
        carry = self._renew(carry, *sources)
        window = EVERYTHING if self.graph.kind == "dense" else self.graph.window + extra_window
        inputs = MeshInputs(
            q=rows.pack(self.heads.queries(x, rows.positions)),
            k=cache.append(carry.k),
            v=cache.append(carry.v),
            positions=rows.pack(rows.positions),
            window=window,
        )
        if self.decay is not None:
            inputs.decay_rate = self.decay.rates()
        if self.forget is not None:
            inputs.forget_k = self._accumulate(carry.forget, cache)
            column = inputs.positions[..., None].expand(-1, -1, carry.forget.shape[-1])
            inputs.forget_q = inputs.forget_k.gather(1, column)
        if self.routed:
            self._connect(inputs, rows, carry, cache)
        if anchors is not None:
            flat, shape = anchors.flatten(0, 1), anchors.shape[:2]
            inputs.anchor_k = self.heads.keys(flat, None).unflatten(0, shape)
            inputs.anchor_v = self.heads.values(flat).unflatten(0, shape)
        output, weights = mesh_attention(inputs)
        weights = None if weights is None else rows.unpack(weights)
        return MeshResult(self.heads.merge(rows.unpack(output)), carry, inputs, weights)

    def flops(self, positions: Tensor, rows: int, sources: int, banks: tuple[int, int]) -> int:
        """Operations for `rows` queries packed at `positions` (B, T') and `sources` new keys.

        `banks` is the number of memory banks (0, 1 or B) and of the anchors in each.
        """
        width = self.routing_width if self.routed else 0
        total = self.heads.flops(queries=rows, keys=sources + banks[0] * banks[1])
        total += attention_flops(positions, self.heads.n_heads, self.heads.width, width, banks[1])
        total += 0 if self.routing is None else 2 * sources * self.routing.weight.numel()
        total += 0 if self.bilinear is None else 2 * rows * self.bilinear.numel()
        total += 0 if self.forget is None else 2 * sources * self.forget.proj.weight.numel()
        return total + (graph_flops(positions, width, self.graph) if self.builds_graph and self.routed else 0)

    def _renew(self, carry: Carry | None, x: Tensor, rows: Rows) -> Carry:
        """The carry with what `rows` compute from their states (n, D) in this layer."""
        new = Carry(self.heads.keys(x, rows.positions), self.heads.values(x))
        new.routing = self._route(x) if self.routed else None
        new.forget = None if self.forget is None else self.forget(x)
        size = rows.grid_positions.numel()
        for name in ("k", "v", "routing", "forget"):
            fresh, old = getattr(new, name), getattr(carry, name, None)
            if fresh is not None:
                old = fresh.new_zeros(size, *fresh.shape[1:]) if old is None else old
                setattr(new, name, rows.put(old, fresh))
            else:
                setattr(new, name, old)
        return replace(new, neighbours=getattr(carry, "neighbours", None))

    def _route(self, x: Tensor) -> Tensor:
        return F.normalize(x if self.routing is None else self.routing(x), dim=-1)

    def _connect(self, inputs: MeshInputs, rows: Rows, carry: Carry, cache: Cache) -> None:
        """Add routing vectors and neighbours: new ones, or those of the layer that built the graph last."""
        routing = rows.take(carry.routing)
        routing = routing if self.bilinear is None else routing @ self.bilinear
        inputs.routing_q, inputs.routing_k = rows.pack(routing), cache.append(carry.routing)
        inputs.similarity_gain = self.similarity_gain
        if not self.builds_graph:
            inputs.neighbours = rows.pack(rows.take(carry.neighbours))
            return
        earliest = None if inputs.forget_k is None else earliest_audible(inputs.forget_q, inputs.forget_k)
        spec = replace(self.graph, window=inputs.window)
        inputs.neighbours = build_graph(inputs.routing_q, inputs.routing_k, inputs.positions, spec, earliest)
        chosen = rows.unpack(inputs.neighbours)
        if carry.neighbours is None:
            carry.neighbours = chosen.new_full((rows.grid_positions.numel(), chosen.shape[-1]), -1)
        carry.neighbours = rows.put(carry.neighbours, chosen)

    @staticmethod
    def _accumulate(forget: Tensor, cache: Cache) -> Tensor:
        """Cumulative log gates (B, S, H) of all positions so far."""
        batch, length = cache.positions.shape
        before, put = cache.carried(forget.new_zeros(batch, forget.shape[-1]))
        total = before[:, None] + forget.view(batch, length, -1).cumsum(1)
        put(total[torch.arange(batch, device=forget.device), cache.new - 1])
        return cache.append(total.flatten(0, 1))
