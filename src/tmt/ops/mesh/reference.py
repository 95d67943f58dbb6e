"""Mesh graph and mesh attention, written as the specification reads: one query at a time, no batching tricks.

The formulas are the contract for every fast path. Letters: B batch, T queries, S keys, H heads, E head
width, R routing width, K neighbours, M anchors.
"""

import torch
from torch import Tensor

from tmt.ops.mesh.types import GraphSpec, MeshInputs
from tmt.ops.precision import at_least_float32

SIMILARITY_LEVELS = 2**14
"""Similarities are compared after rounding to 1/16384: closer ones count as equal, and the nearest wins."""


def mesh_attention(inputs: MeshInputs) -> tuple[Tensor, Tensor]:
    """Attention of every query over itself, its window, its graph neighbours and the anchors.

    Returns:
        output of shape (B, T, H, E), and the weights (B, T, H, S + M) that made it (anchors last).
    """
    batch, queries, heads = inputs.q.shape[:3]
    keys, anchors = inputs.k.shape[1], inputs.anchors
    weights = inputs.q.new_zeros(batch, queries, heads, keys + (anchors.count if anchors else 0))
    for b in range(batch):
        for t in range(queries):
            kept = kept_keys(inputs, b, t)
            for h in range(heads):
                probability = _softmax_over_kept(inputs, b, t, h, kept)
                weights[b, t, h, kept] = probability[: len(kept)] * _decay(inputs, b, t, h, kept)
                weights[b, t, h, keys:] = probability[len(kept) :]
    output = torch.einsum("bths,bshe->bthe", weights[..., :keys], inputs.v)
    if anchors is not None:
        anchor_v = anchors.v.expand(batch, -1, -1, -1)
        output = output + torch.einsum("bthm,bmhe->bthe", weights[..., keys:], anchor_v)
    return output, weights


def kept_keys(inputs: MeshInputs, b: int, t: int) -> list[int]:
    """Key positions that query `t` of row `b` sees: the window up to itself, then its neighbours."""
    position = int(inputs.positions[b, t])
    window = range(max(0, position - inputs.window + 1), position + 1)
    neighbours = [] if inputs.neighbours is None else inputs.neighbours[b, t].tolist()
    return [*window, *(j for j in neighbours if j >= 0)]


def _softmax_over_kept(inputs: MeshInputs, b: int, t: int, h: int, kept: list[int]) -> Tensor:
    query = inputs.q[b, t, h] * inputs.q.shape[-1] ** -0.5
    logits = inputs.k[b, kept, h] @ query
    if inputs.similarity is not None:
        similar = inputs.similarity.k[b, kept] @ inputs.similarity.q[b, t]
        logits = logits + inputs.similarity.gain[h] * similar
    if inputs.forget is not None:
        logits = logits + inputs.forget.q[b, t, h] - inputs.forget.k[b, kept, h]
    if inputs.anchors is not None:
        logits = torch.cat([logits, inputs.anchors.scores[b, t, h]])
    return logits.softmax(-1)


def _decay(inputs: MeshInputs, b: int, t: int, h: int, kept: list[int]) -> Tensor:
    if inputs.decay_rate is None:
        return inputs.q.new_ones(len(kept))
    distance = inputs.positions[b, t] - torch.tensor(kept, device=inputs.q.device)
    return 2 * torch.sigmoid(-inputs.decay_rate[h] * distance)


def build_graph(
    routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec, earliest: Tensor | None = None
) -> Tensor:
    """Neighbours (B, T, K) of every query, −1 where it has fewer; see :func:`tmt.ops.mesh.build_graph`."""
    batch, queries = positions.shape
    table = torch.full((batch, queries, spec.width), -1, dtype=torch.int32)
    for b in range(batch):
        for t in range(queries):
            position = int(positions[b, t])
            first = 0 if earliest is None else int(earliest[b, t])
            candidates = _candidates(routing_q[b, t], routing_k[b], position, first, spec)
            ranked = sorted(candidates, key=lambda j: _rank(routing_q[b, t], routing_k[b], position, j, spec))
            chosen = ranked[: spec.k]
            slots = chosen + [-1] * (spec.k - len(chosen))
            if spec.successors:
                last = position - spec.window
                slots += [j + 1 if 0 <= j < last and j + 1 not in chosen else -1 for j in slots]
            table[b, t] = torch.tensor(slots)
    return table.to(routing_q.device)


def _candidates(query: Tensor, keys: Tensor, position: int, first: int, spec: GraphSpec) -> list[int]:
    """Past tokens outside the window; for distant queries only those of the best windows."""
    past = range(first, position - spec.window + 1)
    if not spec.hierarchical_at(position):
        return list(past)
    own, size = position // spec.block, spec.block
    means = {w: keys[w * size : (w + 1) * size].mean(0) for w in range(own - 1)}
    best = sorted(means, key=lambda w: (-_level(query @ means[w]), -w))[: spec.k_global]
    windows = {own, own - 1, *best}
    return [j for j in past if j // size in windows]


def _rank(query: Tensor, keys: Tensor, position: int, j: int, spec: GraphSpec) -> tuple[int, int]:
    if spec.kind == "recent":
        return 0, -j
    if spec.kind == "random":
        return -spec.hash(position, j), -j
    return -_level(query @ keys[j]), -j


def _level(similarity: Tensor) -> int:
    return int((at_least_float32(similarity) * SIMILARITY_LEVELS).round())
