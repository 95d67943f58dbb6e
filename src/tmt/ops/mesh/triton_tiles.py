"""What the Triton kernels of mesh attention share: tiles of queries and keys, and their scores.

`x` is always the :class:`tmt.ops.mesh.triton_operands.Operands`. Positions never fall along a row, so that
the window of a block of queries is one short range of keys. Scores, probabilities and sums are float32.
Not measured on a GPU.
"""

from typing import Any, NamedTuple

import triton
import triton.language as tl


class Queries(NamedTuple):
    """A tile of queries of one row and head, inside a kernel; position −1 beyond the last."""

    token: Any
    valid: Any
    position: Any
    q: Any
    similarity: Any
    forget: Any


class Keys(NamedTuple):
    """A tile of keys of one row and head, inside a kernel."""

    valid: Any
    position: Any
    k: Any
    v: Any
    similarity: Any
    forget: Any


@triton.jit
def load_rows(rows, batch, token, valid, first, width, WIDTH: tl.constexpr):
    """(n, WIDTH) tile: columns first..first+width−1 of the tokens' rows; zero beyond and where not valid."""
    column = tl.arange(0, WIDTH)[None, :]
    at = batch * rows.batch_stride + token.to(tl.int64)[:, None] * rows.token_stride + first + column
    return tl.load(rows.data + at, mask=valid[:, None] & (column < width), other=0.0)


@triton.jit
def load_flat(data, row, valid, width, WIDTH: tl.constexpr):
    """(n, WIDTH) tile: rows of a contiguous (rows, width) tensor; zero beyond and where not valid."""
    column = tl.arange(0, WIDTH)[None, :]
    return tl.load(data + row[:, None] * width + column, mask=valid[:, None] & (column < width), other=0.0)


@triton.jit
def store_flat(data, row, valid, tile, width, WIDTH: tl.constexpr):
    """Write an (n, WIDTH) tile to rows of a contiguous (rows, width) tensor."""
    column = tl.arange(0, WIDTH)[None, :]
    tl.store(data + row[:, None] * width + column, tile, mask=valid[:, None] & (column < width))


@triton.jit
def load_queries(x, batch, head, first, BLOCK: tl.constexpr, WIDTH: tl.constexpr, ROUTING: tl.constexpr):
    """Queries first..first+BLOCK−1, as far as they exist."""
    token = first + tl.arange(0, BLOCK)
    valid = token < x.queries
    position = tl.load(x.positions + batch * x.queries + token, mask=valid, other=-1).to(tl.int32)
    q = load_rows(x.q, batch, token, valid, head * x.width, x.width, WIDTH)
    similarity = None
    if x.gain is not None:
        similarity = load_rows(x.similarity_q, batch, token, valid, 0, x.routing, ROUTING)
    forget = None
    if x.forget_q is not None:
        forget = load_rows(x.forget_q, batch, token, valid, head, 1, 1)
    return Queries(token, valid, position, q, similarity, forget)


@triton.jit
def load_keys(x, batch, head, position, valid, WIDTH: tl.constexpr, ROUTING: tl.constexpr):
    """Keys at the given positions (n,)."""
    k = load_rows(x.k, batch, position, valid, head * x.width, x.width, WIDTH)
    v = load_rows(x.v, batch, position, valid, head * x.width, x.width, WIDTH)
    similarity = None
    if x.gain is not None:
        similarity = load_rows(x.similarity_k, batch, position, valid, 0, x.routing, ROUTING)
    forget = None
    if x.forget_k is not None:
        forget = load_rows(x.forget_k, batch, position, valid, head, 1, 1)
    return Keys(valid, position, k, v, similarity, forget)


@triton.jit
def load_window(x, batch, head, first, BLOCK: tl.constexpr, WIDTH: tl.constexpr, ROUTING: tl.constexpr):
    """Keys first..first+BLOCK−1, as far as they exist."""
    position = first + tl.arange(0, BLOCK)
    return load_keys(x, batch, head, position, position < x.keys, WIDTH, ROUTING)


@triton.jit
def load_neighbours(x, batch, head, queries, slot, WIDTH: tl.constexpr, ROUTING: tl.constexpr):
    """One key for each query: its neighbour in a slot."""
    row = batch * x.queries + queries.token
    position = tl.load(x.neighbours + row * x.slots + slot, mask=queries.valid, other=-1)
    return load_keys(x, batch, head, position, position >= 0, WIDTH, ROUTING)


@triton.jit
def window_range(x, batch, first, BLOCK: tl.constexpr):
    """The first key, and the one after the last, in the windows of a block of queries."""
    positions = x.positions + batch * x.queries
    nearest = tl.load(positions + first)
    furthest = tl.load(positions + tl.minimum(first + BLOCK, x.queries) - 1)
    return tl.maximum(nearest - x.window + 1, 0).to(tl.int32), (furthest + 1).to(tl.int32)


@triton.jit
def dot(a, b):
    """Matrix product of two tiles: products are not rounded, sums are float32."""
    if a.dtype != b.dtype:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def row_dot(a, b):
    """(n,) inner products of the rows of two (n, width) tiles."""
    return tl.sum(a.to(tl.float32) * b.to(tl.float32), 1)


@triton.jit
def window_scores(x, head, queries, keys):
    """Logits (n, m) of every query with every key, −∞ outside the window; similarities; distances."""
    logits = dot(queries.q, tl.trans(keys.k)) * x.scale
    similar = tl.zeros_like(logits)
    if x.gain is not None:
        similar = dot(queries.similarity, tl.trans(keys.similarity))
        logits += tl.load(x.gain + head).to(tl.float32) * similar
    if x.forget_q is not None:
        logits += queries.forget.to(tl.float32) - tl.trans(keys.forget).to(tl.float32)
    distance = queries.position[:, None] - keys.position[None, :]
    kept = (distance >= 0) & (distance < x.window)
    return tl.where(kept, logits, -float("inf")), similar, distance


@triton.jit
def neighbour_scores(x, head, queries, keys):
    """Logits (n, 1) of every query with its one key, −∞ where there is none; similarities; distances."""
    logits = row_dot(queries.q, keys.k)[:, None] * x.scale
    similar = tl.zeros_like(logits)
    if x.gain is not None:
        similar = row_dot(queries.similarity, keys.similarity)[:, None]
        logits += tl.load(x.gain + head).to(tl.float32) * similar
    if x.forget_q is not None:
        logits += queries.forget.to(tl.float32) - keys.forget.to(tl.float32)
    distance = (queries.position - keys.position)[:, None]
    return tl.where(keys.valid[:, None], logits, -float("inf")), similar, distance


@triton.jit
def load_anchors(x, batch, head, first, ANCHORS: tl.constexpr, WIDTH: tl.constexpr):
    """Values of anchors first..first+ANCHORS−1."""
    anchor = first + tl.arange(0, ANCHORS)
    return load_rows(x.anchor_v, batch, anchor, anchor < x.anchors, head * x.width, x.width, WIDTH)


@triton.jit
def load_anchor_scores(x, batch, head, token, valid, first, ANCHORS: tl.constexpr):
    """Logits (n, ANCHORS) float32 of tokens (n,) with anchors first..first+ANCHORS−1, −∞ beyond the last."""
    left = x.anchors - first
    logits = load_rows(x.anchor_scores, batch, token, valid, head * x.anchors + first, left, ANCHORS)
    return tl.where((tl.arange(0, ANCHORS) < left)[None, :], logits.to(tl.float32), -float("inf"))


@triton.jit
def decay(x, head, distance):
    """2σ(−rate · distance), 1 without decay; in a form that never overflows."""
    factor = tl.full(distance.shape, 1.0, tl.float32)
    if x.decay_rate is not None:
        rate = tl.load(x.decay_rate + head).to(tl.float32)
        falling = tl.exp(-rate * tl.maximum(distance, 0).to(tl.float32))
        factor = 2 * falling / (1 + falling)
    return factor


@triton.jit
def probability(logits, lse):
    """Softmax weights; at most 1 even where rounding differs from the forward pass at extreme logits."""
    return tl.exp(tl.minimum(logits - lse, 0.0))


@triton.jit
def edge_gradients(x, head, logits, distance, grad_weight, lse, delta):
    """Weights of the values, gradients of the logits, and what each edge adds to the decay rate's."""
    p, factor = probability(logits, lse), decay(x, head, distance)
    slope = tl.maximum(distance, 0).to(tl.float32) * factor * (factor / 2 - 1)
    return p * factor, p * (grad_weight * factor - delta), p * grad_weight * slope


@triton.jit
def load_upstream(x, upstream, batch, head, queries, WIDTH: tl.constexpr):
    """grad_output (n, WIDTH), lse (n, 1) and delta (n, 1) of some queries."""
    row = (batch * x.queries + queries.token) * x.heads + head
    lse = load_flat(upstream.lse, row, queries.valid, 1, 1)
    delta = load_flat(upstream.delta, row, queries.valid, 1, 1)
    return load_flat(upstream.grad_output, row, queries.valid, x.width, WIDTH), lse, delta
