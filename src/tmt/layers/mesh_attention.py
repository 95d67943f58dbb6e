"""Attention over a graph that is rebuilt as the text is read (specs: TMT §3)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tmt.layers.attention import HeadProjections
from tmt.layers.cache import Cache
from tmt.layers.decay import DistanceDecay, ForgetGate
from tmt.layers.graph import Graph
from tmt.layers.linear import Linear
from tmt.layers.made_again import made_again
from tmt.layers.norm import unit_rows
from tmt.layers.rotary import Rotation
from tmt.layers.rows import Rows
from tmt.ops.mesh import (
    Anchors,
    ForgetBias,
    MeshInputs,
    SimilarityBias,
    anchor_scores,
    attention_flops,
    attention_impl,
    mesh_attention,
)
from tmt.ops.precision import at_least_float32

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
    """What the operation read, but for the norm and rotation of queries, and for the anchors."""
    read: Callable[[], MeshInputs]
    """Makes from them all that it read."""
    anchor_weights: Tensor | None
    """(n, M), mean over heads."""


class MeshAttention(nn.Module):
    """Self, local window, graph neighbours and memory anchors in one softmax, with decay and cosine bias."""

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        eps: float,
        graph: Graph,
        *,
        builds_graph: bool,
        routing_dim: int,
        similarity: Literal["cosine", "bilinear"],
        decay: Literal["none", "distance", "data"],
        decay_rate: float,
        streams_memory: bool,
        anchor_query: Literal["unrotated", "rotated"],
    ):
        super().__init__()
        self.heads = HeadProjections(d_model, n_heads, eps)
        self.chooser, self.graph = graph, graph.spec
        self.builds_graph, self.streams_memory = builds_graph, streams_memory
        self.anchor_query = anchor_query
        self.routed = self.graph.kind not in ("none", "dense") and self.graph.k > 0
        self.routing_width = routing_dim or d_model
        self.routing = Linear(d_model, routing_dim, bias=False) if self.routed and routing_dim else None
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
        rotation: Rotation,
        cache: Cache,
        anchors: Tensor | None,
        extra_window: int = 0,
    ) -> MeshResult:
        """Attend from the running rows.

        Args:
            x: (n, D) normalised states of `rows`, the tokens that run this layer.
            sources: states and rows that compute keys and values: the same, or all tokens.
            carry: what the tokens computed before; None in the first layer.
            rotation: of all tokens of the grid.
            cache: gives the past's keys in exchange for the new ones.
            anchors: (1 or B, M, D) normalised anchors, or None.
            extra_window: tokens by which the window is wider for now (annealing).
        """
        turned = (rows.take(rotation[0]), rows.take(rotation[1]))
        carry = self._renew(carry, *sources, turned if sources[1] is rows else rotation)
        inputs = MeshInputs(
            q=rows.pack(self.heads.query_heads(x)),
            k=cache.append(carry.k),
            v=cache.append(carry.v),
            positions=rows.packed_positions,
            window=self._window(extra_window),
            whole=cache.fixed,
        )
        if self.decay is not None:
            inputs.decay_rate = self.decay.rates()
        if self.forget is not None and carry.forget is not None:
            inputs.forget = _forget_bias(carry.forget, inputs.positions, cache)
        if self.similarity_gain is not None and carry.routing is not None:
            routing = rows.take(carry.routing)
            routing = routing if self.bilinear is None else routing @ self.bilinear
            keys = cache.append(carry.routing)
            inputs.similarity = SimilarityBias(rows.pack(routing), keys, self.similarity_gain)
            inputs.neighbours = self._neighbours(inputs, inputs.similarity, rows, carry, cache)
        bank = None if anchors is None else self.project(anchors, cache)
        turned = (rows.pack(turned[0]).flatten(0, 1), rows.pack(turned[1]).flatten(0, 1))
        read = partial(self._finished, inputs, turned, bank)
        output, weights = _attend(read, attention_impl(inputs.q, inputs.window))
        weights = None if weights is None else rows.unpack(weights)
        return MeshResult(self.heads.merge(rows.unpack(output)), carry, inputs, read, weights)

    def _finished(
        self, inputs: MeshInputs, rotation: Rotation, bank: tuple[Tensor, Tensor] | None
    ) -> MeshInputs:
        """The inputs with their queries (B, T', H, E) normalised and turned by a rotation (B·T', E/2), and
        with the anchors whose keys and values are in the bank."""
        q = self.heads.query_norm(inputs.q.flatten(0, 1), rotation).view_as(inputs.q)
        if bank is None:
            return replace(inputs, q=q)
        scores = self._anchor_scores(inputs.q, rotation if self.anchor_query == "rotated" else None, bank[0])
        return replace(inputs, q=q, anchors=Anchors(scores, bank[1]))

    def _anchor_scores(self, heads: Tensor, rotation: Rotation | None, keys: Tensor) -> Tensor:
        """(B, T', H, M); the queries that they are products of are made again going back, and not kept."""

        def scores(heads: Tensor, keys: Tensor) -> Tensor:
            return anchor_scores(self.heads.query_norm(heads.flatten(0, 1), rotation).view_as(heads), keys)

        if not torch.is_grad_enabled():
            return scores(heads, keys)
        return checkpoint(scores, heads, keys, use_reentrant=False, preserve_rng_state=False)

    def flops(
        self, positions: Tensor, rows: int, sources: int, banks: tuple[int, int], extra_window: int = 0
    ) -> float:
        """Operations for `rows` queries packed at `positions` (B, T') and `sources` new keys.

        `banks` is the number of memory banks to project (0, 1 or B) and of the anchors in each;
        `extra_window` as in `forward`.
        """
        width = self.routing_width if self.routed else 0
        slots = self.graph.width if self.routed else 0
        sizes = (self.heads.n_heads, self.heads.width, width, banks[1])
        weight, window = self.heads.query.weight, self._window(extra_window)
        total = self.heads.flops(queries=rows, keys=sources + banks[0] * banks[1])
        total += attention_flops(positions, window, slots, *sizes, attention_impl(weight, window))
        total += 0 if self.routing is None else 2 * sources * self.routing.weight.numel()
        total += 0 if self.bilinear is None else 2 * rows * self.bilinear.numel()
        total += 0 if self.forget is None else 2 * sources * self.forget.proj.weight.numel()
        if not (self.builds_graph and self.routed):
            return total
        return total + self.chooser.flops(positions, width, weight, window)

    def project(self, anchors: Tensor, cache: Cache) -> tuple[Tensor, Tensor]:
        """Keys and values of anchors (1 or B, M, D); those of a frozen bank are kept in the state."""
        flat, shape = anchors.flatten(0, 1), anchors.shape[:2]

        def keys() -> Tensor:
            return self.heads.keys(flat, None).unflatten(0, shape)

        def values() -> Tensor:
            return self.heads.values(flat).unflatten(0, shape)

        if self.streams_memory:
            return keys(), values()
        return cache.remembered(keys), cache.remembered(values)

    def _window(self, extra: int = 0) -> int:
        return EVERYTHING if self.graph.kind == "dense" else self.graph.window + extra

    def ops(self) -> dict[str, str]:
        """The path that each operation takes for weights of this type on this machine."""
        weight = self.heads.query.weight
        graph = {"build_graph": self.chooser.impl(weight)} if self.routed else {}
        return {"mesh_attention": attention_impl(weight, self._window()), **graph}

    def _renew(self, carry: Carry | None, x: Tensor, rows: Rows, rotation: Rotation) -> Carry:
        """The carry with what `rows` compute from their states (n, D) in this layer."""
        new = Carry(
            self.heads.keys(x, rotation),
            self.heads.values(x),
            self._route(x) if self.routed else None,
            None if self.forget is None else self.forget(x),
        )
        if carry is None:
            return new
        return Carry(
            rows.put(carry.k, new.k),
            rows.put(carry.v, new.v),
            _merged(rows, carry.routing, new.routing),
            _merged(rows, carry.forget, new.forget),
            carry.neighbours,
        )

    def _route(self, x: Tensor) -> Tensor:
        return unit_rows(at_least_float32(x if self.routing is None else self.routing(x)))

    def _neighbours(
        self, inputs: MeshInputs, similarity: SimilarityBias, rows: Rows, carry: Carry, cache: Cache
    ) -> Tensor | None:
        """New neighbours, kept in the carry for layers that build none, or those of the last that built."""
        if not self.builds_graph:
            return None if carry.neighbours is None else rows.pack(rows.take(carry.neighbours))
        found = self.chooser.neighbours(similarity, inputs.forget, inputs.positions, inputs.window, cache)
        carry.neighbours = _merged(rows, carry.neighbours, rows.unpack(found), missing=-1)
        return found


def _attend(read: Callable[[], MeshInputs], impl: str) -> tuple[Tensor, Tensor | None]:
    """Attention over what is read; the fused operator keeps neither queries nor scores for its way back.

    The blocked path saves little of them, and makes its own products again; a compiler decides by itself.
    """
    inputs = read()
    if impl != "fused" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return mesh_attention(inputs)
    with made_again(_remade(inputs), lambda: _remade(read())):
        return mesh_attention(inputs)


def _remade(inputs: MeshInputs) -> list[Tensor]:
    return [inputs.q] if inputs.anchors is None else [inputs.q, inputs.anchors.scores]


def _merged(rows: Rows, old: Tensor | None, new: Tensor | None, missing: int = 0) -> Tensor | None:
    """The old grid with the rows' new values; `missing` where a token has computed nothing yet."""
    if new is None:
        return old
    if old is None:
        old = new.new_full((rows.grid_positions.numel(), *new.shape[1:]), missing)
    return rows.put(old, new)


def _forget_bias(gates: Tensor, positions: Tensor, cache: Cache) -> ForgetBias:
    """Cumulative log gates at `positions` (B, T) and of all tokens so far, from the new tokens' gates.

    Sums are carried in float64 where the device has it: in float32 their errors grow with every call.
    """
    batch, length = cache.positions.shape
    exact = gates.dtype if gates.device.type == "mps" else torch.float64
    before, put = cache.carried(gates.new_zeros(batch, gates.shape[-1], dtype=exact))
    total = before[:, None] + gates.view(batch, length, -1).to(exact).cumsum(1)
    put(total[torch.arange(batch, device=gates.device), cache.new - 1])
    keys = cache.append(total.flatten(0, 1).to(gates.dtype))
    return ForgetBias(keys.gather(1, positions[..., None].expand(-1, -1, keys.shape[-1])), keys)
