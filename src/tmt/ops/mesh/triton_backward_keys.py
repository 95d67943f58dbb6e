"""Triton kernels of mesh attention, backward: what belongs to the keys and to the anchors' values.

Nothing is added atomically, so that equal inputs give equal bits: a program owns a block of keys (and sums
over the queries whose windows hold them), one key (and its edges in the graph), or a block of anchors for
some of the queries (a partial sum). Not measured on a GPU.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from tmt.ops.mesh.triton_tiles import (
    dot,
    edge_gradients,
    load_anchor_scores,
    load_flat,
    load_queries,
    load_rows,
    load_upstream,
    load_window,
    probability,
    store_flat,
    window_scores,
)


class KeyGradients(NamedTuple):
    """Sums over the queries, float32; None where the part is absent."""

    k: Tensor
    """(B, S, H, E)."""
    v: Tensor
    """(B, S, H, E)."""
    similarity: Tensor | None
    """(B, S, H, R), to be summed over heads."""
    forget: Tensor | None
    """(B, S, H)."""


class IncomingEdges(NamedTuple):
    """The graph by target: row b's key j is the target of order[b, starts[b, j] : starts[b, j + 1]]."""

    order: Tensor
    """(B, T·slots) int64: edges by target; edge t·slots + s is slot s of query t."""
    starts: Tensor
    """(B, S + 1) int64."""


@triton.jit
def window_backward(
    x,
    ranges,
    upstream,
    gradients,
    BLOCK: tl.constexpr,
    ANCHORS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROUTING: tl.constexpr,
):
    """Write what the windows bring to `gradients`; grid (blocks of keys, H, B).

    ranges (B, blocks of keys, 2) int64: the first query whose window may reach the block, and the one after
    the last.
    """
    first, head, batch = tl.program_id(0) * BLOCK, tl.program_id(1), tl.program_id(2).to(tl.int64)
    keys = load_window(x, batch, head, first, BLOCK, WIDTH, ROUTING)
    grad_k = tl.zeros((BLOCK, WIDTH), tl.float32)
    grad_v = tl.zeros((BLOCK, WIDTH), tl.float32)
    grad_similarity = tl.zeros((BLOCK, ROUTING), tl.float32)
    grad_forget = tl.zeros((BLOCK, 1), tl.float32)

    bounds = ranges + (batch * tl.num_programs(0) + tl.program_id(0)) * 2
    begin, end = tl.load(bounds).to(tl.int32), tl.load(bounds + 1).to(tl.int32)
    for query in range(begin, end, BLOCK):
        queries = load_queries(x, batch, head, query, BLOCK, WIDTH, ROUTING)
        grad_output, lse, delta = load_upstream(x, upstream, batch, head, queries, WIDTH)
        logits, _, distance = window_scores(x, head, queries, keys)
        grad_weight = dot(grad_output, tl.trans(keys.v))
        weight, grad_logit, _ = edge_gradients(x, head, logits, distance, grad_weight, lse, delta)
        weight, grad_logit = tl.trans(weight), tl.trans(grad_logit)
        grad_v += dot(weight.to(grad_output.dtype), grad_output)
        grad_k += dot(grad_logit.to(queries.q.dtype), queries.q)
        if x.gain is not None:
            grad_similarity += dot(grad_logit.to(queries.similarity.dtype), queries.similarity)
        grad_forget -= tl.sum(grad_logit, 1, keep_dims=True)

    row = (batch * x.keys + keys.position) * x.heads + head
    store_flat(gradients.k, row, keys.valid, grad_k * x.scale, x.width, WIDTH)
    store_flat(gradients.v, row, keys.valid, grad_v, x.width, WIDTH)
    if x.gain is not None:
        gain = tl.load(x.gain + head).to(tl.float32)
        store_flat(gradients.similarity, row, keys.valid, grad_similarity * gain, x.routing, ROUTING)
    if x.forget_k is not None:
        store_flat(gradients.forget, row, keys.valid, grad_forget, 1, 1)


@triton.jit
def graph_backward(
    x, incoming, edges, upstream, gradients, EDGES: tl.constexpr, WIDTH: tl.constexpr, ROUTING: tl.constexpr
):
    """Add what the graph brings to `gradients`; grid (S, H, B), after :func:`window_backward`."""
    key, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    bounds = incoming.starts + batch * (x.keys + 1) + key
    begin, end = tl.load(bounds).to(tl.int32), tl.load(bounds + 1).to(tl.int32)
    if begin == end:
        return
    grad_k = tl.zeros((1, WIDTH), tl.float32)
    grad_v = tl.zeros((1, WIDTH), tl.float32)
    grad_similarity = tl.zeros((1, ROUTING), tl.float32)
    grad_forget = tl.zeros((1, 1), tl.float32)
    per_row = x.queries * x.slots
    for first in range(begin, end, EDGES):
        place = first + tl.arange(0, EDGES)
        valid = place < end
        edge = tl.load(incoming.order + batch * per_row + place, mask=valid, other=0)
        token = edge // x.slots
        edge += (batch * x.heads + head) * per_row
        weight = load_flat(edges.weight, edge, valid, 1, 1)
        grad_logit = load_flat(edges.logit, edge, valid, 1, 1)
        row = (batch * x.queries + token) * x.heads + head
        grad_output = load_flat(upstream.grad_output, row, valid, x.width, WIDTH)
        grad_v += tl.sum(weight * grad_output, 0, keep_dims=True)
        q = load_rows(x.q, batch, token, valid, head * x.width, x.width, WIDTH)
        grad_k += tl.sum(grad_logit * q, 0, keep_dims=True)
        if x.gain is not None:
            similarity = load_rows(x.similarity_q, batch, token, valid, 0, x.routing, ROUTING)
            grad_similarity += tl.sum(grad_logit * similarity, 0, keep_dims=True)
        grad_forget -= tl.sum(grad_logit, 0, keep_dims=True)

    row = (batch * x.keys + key) * x.heads + head
    _add_row(gradients.k, row, grad_k * x.scale, x.width, WIDTH)
    _add_row(gradients.v, row, grad_v, x.width, WIDTH)
    if x.gain is not None:
        gain = tl.load(x.gain + head).to(tl.float32)
        _add_row(gradients.similarity, row, grad_similarity * gain, x.routing, ROUTING)
    if x.forget_k is not None:
        _add_row(gradients.forget, row, grad_forget, 1, 1)


@triton.jit
def _add_row(data, row, tile, width, WIDTH: tl.constexpr):
    """Add a (1, WIDTH) tile to one row of a contiguous (rows, width) tensor."""
    column = tl.arange(0, WIDTH)[None, :]
    at, mask = data + row * width + column, column < width
    tl.store(at, tl.load(at, mask=mask) + tile, mask=mask)


@triton.jit
def anchors_backward(
    x,
    upstream,
    grad_v,
    CHUNK: tl.constexpr,
    BLOCK: tl.constexpr,
    ANCHORS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Partial sums (B, chunks, M, H, E) float32 over CHUNK queries; grid (chunks, blocks of anchors, B·H)."""
    chunk, first = tl.program_id(0), tl.program_id(1) * ANCHORS
    batch, head = (tl.program_id(2) // x.heads).to(tl.int64), tl.program_id(2) % x.heads
    sum_v = tl.zeros((ANCHORS, WIDTH), tl.float32)
    for query in range(chunk * CHUNK, tl.minimum((chunk + 1) * CHUNK, x.queries), BLOCK):
        token = query + tl.arange(0, BLOCK)
        valid, row = token < x.queries, (batch * x.queries + token) * x.heads + head
        grad_output = load_flat(upstream.grad_output, row, valid, x.width, WIDTH)
        logits = load_anchor_scores(x, batch, head, token, valid, first, ANCHORS)
        weight = probability(logits, load_flat(upstream.lse, row, valid, 1, 1))
        sum_v += dot(tl.trans(weight).to(grad_output.dtype), grad_output)

    anchor = first + tl.arange(0, ANCHORS)
    row = ((batch * tl.num_programs(0) + chunk) * x.anchors + anchor) * x.heads + head
    store_flat(grad_v, row, anchor < x.anchors, sum_v, x.width, WIDTH)
