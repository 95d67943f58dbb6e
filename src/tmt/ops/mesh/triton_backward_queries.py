"""Triton kernel of mesh attention, backward: what belongs to the queries.

A program owns a block of queries of one batch row and head, computes the scores again from q, k and the
saved lse, and leaves every graph edge's gradients for :mod:`tmt.ops.mesh.triton_backward_keys`.
Not measured on a GPU.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from tmt.ops.mesh.triton_tiles import (
    dot,
    edge_gradients,
    load_anchor_scores,
    load_anchors,
    load_flat,
    load_neighbours,
    load_queries,
    load_window,
    neighbour_scores,
    probability,
    row_dot,
    store_flat,
    window_range,
    window_scores,
)


class EdgeGradients(NamedTuple):
    """What the graph's edges pass on to their keys; unset where a query has no neighbour."""

    weight: Tensor
    """(B, H, T, slots) float32 weight of the neighbour's value."""
    logit: Tensor
    """(B, H, T, slots) float32 gradient of the logit."""


class QueryGradients(NamedTuple):
    """What :func:`queries_backward` writes; None where the part is absent."""

    q: Tensor
    """(B, T, H, E)."""
    similarity: Tensor | None
    """(B, T, H, R) float32, to be summed over heads."""
    forget: Tensor | None
    """(B, T, H)."""
    gain: Tensor | None
    """(B, blocks, H) float32, to be summed over all but heads."""
    decay_rate: Tensor | None
    """(B, blocks, H) float32, likewise."""
    anchor_scores: Tensor | None
    """(B, T, H, M)."""
    edges: EdgeGradients | None


@triton.jit
def queries_backward(
    x,
    output,
    upstream,
    gradients,
    BLOCK: tl.constexpr,
    ANCHORS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROUTING: tl.constexpr,
):
    """Write `gradients` and `upstream.delta`, from output (B, T, H, E); grid (blocks of queries, H, B)."""
    first, head, batch = tl.program_id(0) * BLOCK, tl.program_id(1), tl.program_id(2).to(tl.int64)
    queries = load_queries(x, batch, head, first, BLOCK, WIDTH, ROUTING)
    row = (batch * x.queries + queries.token) * x.heads + head
    grad_output = load_flat(upstream.grad_output, row, queries.valid, x.width, WIDTH)
    lse = load_flat(upstream.lse, row, queries.valid, 1, 1)
    delta = row_dot(grad_output, load_flat(output, row, queries.valid, x.width, WIDTH))[:, None]
    store_flat(upstream.delta, row, queries.valid, delta, 1, 1)
    grad_q = tl.zeros((BLOCK, WIDTH), tl.float32)
    grad_similarity = tl.zeros((BLOCK, ROUTING), tl.float32)
    grad_forget = tl.zeros((BLOCK, 1), tl.float32)
    grad_gain = tl.zeros((BLOCK, 1), tl.float32)
    grad_rate = tl.zeros((BLOCK, 1), tl.float32)

    begin, end = window_range(x, batch, first, BLOCK)
    for key in range(begin, end, BLOCK):
        keys = load_window(x, batch, head, key, BLOCK, WIDTH, ROUTING)
        logits, similar, distance = window_scores(x, head, queries, keys)
        grad_weight = dot(grad_output, tl.trans(keys.v))
        _, grad_logit, rate = edge_gradients(x, head, logits, distance, grad_weight, lse, delta)
        grad_q += dot(grad_logit.to(keys.k.dtype), keys.k)
        if x.gain is not None:
            grad_similarity += dot(grad_logit.to(keys.similarity.dtype), keys.similarity)
        grad_forget += tl.sum(grad_logit, 1, keep_dims=True)
        grad_gain += tl.sum(grad_logit * similar, 1, keep_dims=True)
        grad_rate += tl.sum(rate, 1, keep_dims=True)

    if x.neighbours is not None:
        edge = ((batch * x.heads + head) * x.queries + queries.token) * x.slots
        for slot in range(x.slots):
            keys = load_neighbours(x, batch, head, queries, slot, WIDTH, ROUTING)
            logits, similar, distance = neighbour_scores(x, head, queries, keys)
            grad_weight = row_dot(grad_output, keys.v)[:, None]
            weight, grad_logit, rate = edge_gradients(x, head, logits, distance, grad_weight, lse, delta)
            store_flat(gradients.edges.weight, edge + slot, keys.valid, weight, 1, 1)
            store_flat(gradients.edges.logit, edge + slot, keys.valid, grad_logit, 1, 1)
            grad_q += grad_logit * keys.k
            if x.gain is not None:
                grad_similarity += grad_logit * keys.similarity
            grad_forget += grad_logit
            grad_gain += grad_logit * similar
            grad_rate += rate

    if x.anchor_scores is not None:
        for anchor in range(0, x.anchors, ANCHORS):
            anchor_v = load_anchors(x, batch, head, anchor, ANCHORS, WIDTH)
            logits = load_anchor_scores(x, batch, head, queries.token, queries.valid, anchor, ANCHORS)
            grad_logit = probability(logits, lse) * (dot(grad_output, tl.trans(anchor_v)) - delta)
            column = anchor + tl.arange(0, ANCHORS)[None, :]
            mask = queries.valid[:, None] & (column < x.anchors)
            tl.store(gradients.anchor_scores + row[:, None] * x.anchors + column, grad_logit, mask=mask)

    store_flat(gradients.q, row, queries.valid, grad_q * x.scale, x.width, WIDTH)
    partial = (batch * tl.num_programs(0) + tl.program_id(0)) * x.heads + head
    if x.gain is not None:
        gain = tl.load(x.gain + head).to(tl.float32)
        store_flat(gradients.similarity, row, queries.valid, grad_similarity * gain, x.routing, ROUTING)
        tl.store(gradients.gain + partial, tl.sum(grad_gain))
    if x.forget_q is not None:
        store_flat(gradients.forget, row, queries.valid, grad_forget, 1, 1)
    if x.decay_rate is not None:
        tl.store(gradients.decay_rate + partial, tl.sum(grad_rate))
