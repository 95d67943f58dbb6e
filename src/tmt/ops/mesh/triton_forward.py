"""Triton kernels of mesh attention, forward: the running softmax over window, neighbours and anchors.

A program owns a block of queries of one batch row and head and reads every key in place. The window is a
band of matrix products; neighbours are read one slot at a time. Not measured on a GPU.
"""

import triton
import triton.language as tl

from tmt.ops.mesh.triton_tiles import (
    decay,
    dot,
    load_anchor_scores,
    load_anchors,
    load_neighbours,
    load_queries,
    load_window,
    neighbour_scores,
    store_flat,
    window_range,
    window_scores,
)


@triton.jit
def attend(
    x, output, lse, BLOCK: tl.constexpr, ANCHORS: tl.constexpr, WIDTH: tl.constexpr, ROUTING: tl.constexpr
):
    """output (B, T, H, E) and lse (B, T, H); grid (blocks of queries, H, B)."""
    first, head, batch = tl.program_id(0) * BLOCK, tl.program_id(1), tl.program_id(2).to(tl.int64)
    queries = load_queries(x, batch, head, first, BLOCK, WIDTH, ROUTING)
    maximum = tl.full((BLOCK, 1), -float("inf"), tl.float32)
    total = tl.zeros((BLOCK, 1), tl.float32)
    mixture = tl.zeros((BLOCK, WIDTH), tl.float32)

    begin, end = window_range(x, batch, first, BLOCK)
    for key in range(begin, end, BLOCK):
        keys = load_window(x, batch, head, key, BLOCK, WIDTH, ROUTING)
        logits, _, distance = window_scores(x, head, queries, keys)
        maximum, total, shrink, p = _absorb(maximum, total, logits)
        weight = p * decay(x, head, distance)
        mixture = mixture * shrink + dot(weight.to(keys.v.dtype), keys.v)

    if x.neighbours is not None:
        for slot in range(x.slots):
            keys = load_neighbours(x, batch, head, queries, slot, WIDTH, ROUTING)
            logits, _, distance = neighbour_scores(x, head, queries, keys)
            maximum, total, shrink, p = _absorb(maximum, total, logits)
            mixture = mixture * shrink + p * decay(x, head, distance) * keys.v

    if x.anchor_scores is not None:
        for anchor in range(0, x.anchors, ANCHORS):
            anchor_v = load_anchors(x, batch, head, anchor, ANCHORS, WIDTH)
            logits = load_anchor_scores(x, batch, head, queries.token, queries.valid, anchor, ANCHORS)
            maximum, total, shrink, p = _absorb(maximum, total, logits)
            mixture = mixture * shrink + dot(p.to(anchor_v.dtype), anchor_v)

    total = tl.where(total > 0, total, 1.0)
    row = (batch * x.queries + queries.token) * x.heads + head
    store_flat(output, row, queries.valid, mixture / total, x.width, WIDTH)
    store_flat(lse, row, queries.valid, maximum + tl.log(total), 1, 1)


@triton.jit
def _absorb(maximum, total, logits):
    """Add logits (n, m) to the running softmax: its maximum and total (n, 1), what they shrink by, exp."""
    larger = tl.maximum(maximum, tl.max(logits, 1, keep_dims=True))
    level = tl.where(larger == -float("inf"), 0.0, larger)
    shrink, p = tl.exp(maximum - level), tl.exp(logits - level)
    return larger, total * shrink + tl.sum(p, 1, keep_dims=True), shrink, p


@triton.jit
def anchor_usage(x, lse, usage, BLOCK: tl.constexpr, ANCHORS: tl.constexpr):
    """usage (B, T, M): softmax weights, mean over heads; grid (blocks of queries, blocks of anchors, B)."""
    first, anchor = tl.program_id(0) * BLOCK, tl.program_id(1) * ANCHORS
    batch = tl.program_id(2).to(tl.int64)
    token = first + tl.arange(0, BLOCK)
    valid, row = token < x.queries, batch * x.queries + token
    weight = tl.zeros((BLOCK, ANCHORS), tl.float32)
    for head in range(x.heads):
        logits = load_anchor_scores(x, batch, head, token, valid, anchor, ANCHORS)
        level = tl.load(lse + row * x.heads + head, mask=valid, other=0.0)[:, None]
        weight += tl.exp(tl.minimum(logits - level, 0.0))
    column = anchor + tl.arange(0, ANCHORS)[None, :]
    mask = valid[:, None] & (column < x.anchors)
    tl.store(usage + row[:, None] * x.anchors + column, weight / x.heads, mask=mask)
