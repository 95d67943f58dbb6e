"""Neighbour selection on GPUs: Triton kernels that keep the best of a stream of keys. Not measured on a GPU.

A candidate is one int64, its level above its index, so that candidates are distinct, the greatest is the
most similar and among equals the nearest, and any order of search finds the same ones. No table of
queries × keys exists. Letters as in :mod:`tmt.ops.mesh.reference`; never imported by the package itself,
because Triton is optional.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from tmt.ops.mesh import graph
from tmt.ops.mesh.reference import SIMILARITY_LEVELS
from tmt.ops.mesh.triton_operands import TokenRows, tile_width, token_rows
from tmt.ops.mesh.triton_tiles import dot, load_rows
from tmt.ops.mesh.types import GraphSpec

BLOCK = 32
"""Queries or keys of a tile at least."""
PANEL = 64
"""Routing columns multiplied at once, at most."""
LEVELS = tl.constexpr(SIMILARITY_LEVELS)
INDEX_BITS = tl.constexpr(24)
INDEX_MASK = tl.constexpr(2**24 - 1)
EXCLUDED = tl.constexpr(-(2**63))


def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None,
    means: Tensor,
) -> Tensor:
    """Neighbours of every query; same contract as :func:`tmt.ops.mesh.build_graph`."""
    if spec.kind != "knn" or spec.k == 0 or positions.numel() == 0:
        return graph.build_graph(routing_q, routing_k, positions, spec, earliest, means)
    query, keys = token_rows(routing_q), token_rows(routing_k)
    first = torch.zeros_like(positions) if earliest is None else earliest
    last = positions - spec.window
    with torch.cuda.device_of(positions):
        chosen = _search(query, keys, first, last.where(positions < spec.exact_until, -1), spec.k)
        if spec.hierarchical_at(routing_k.shape[1] - 1):
            blocks = _blocks(query, token_rows(means), positions, spec)
            _search_blocks(query, keys, first, last, blocks, chosen, spec.block)
    return graph.with_successors(chosen, positions, spec) if spec.successors else chosen


def _blocks(query: TokenRows, means: TokenRows, positions: Tensor, spec: GraphSpec) -> Tensor:
    """(B, T, count) blocks that each query searches: the best complete ones, the one before, its own.

    Negative numbers are no blocks; queries before `spec.exact_until` search none.
    """
    own = (positions // spec.block).where(positions >= spec.exact_until, -1)
    recent = torch.stack([own - 1, own], -1)
    if spec.k_global == 0:
        return recent
    best = _search(query, means, torch.zeros_like(own), own - 2, spec.k_global)
    return torch.cat([best, recent], -1)


def _search(query: TokenRows, keys: TokenRows, first: Tensor, last: Tensor, k: int) -> Tensor:
    """(B, T, k) the most similar of each query's keys first..last, best first, −1 where there are fewer."""
    batch, queries = first.shape
    length, width = keys.data.shape[1:]
    chosen = torch.empty((batch, queries, k), dtype=torch.int32, device=first.device)
    kept = triton.next_power_of_2(k)
    sizes: dict[str, Any] = {
        "BLOCK": BLOCK,
        "KEYS": max(BLOCK, kept),
        "KEPT": kept,
        "PANEL": min(PANEL, tile_width(width)),
    }
    grid = (-(-queries // BLOCK), batch)
    first, last = first.contiguous(), last.contiguous()
    search_range[grid](query, keys, first, last, chosen, queries, length, width, k, **sizes)
    return chosen


def _search_blocks(
    query: TokenRows, keys: TokenRows, first: Tensor, last: Tensor, blocks: Tensor, chosen: Tensor, size: int
) -> None:
    """Fill in the rows of `chosen` (B, T, k) whose queries search blocks (B, T, count) of `size` tokens."""
    batch, queries, k = chosen.shape
    width, count = keys.data.shape[2], blocks.shape[2]
    kept = triton.next_power_of_2(k)
    sizes: dict[str, Any] = {
        "KEYS": max(kept, triton.next_power_of_2(size)),
        "KEPT": kept,
        "WIDTH": triton.next_power_of_2(width),
    }
    first, last = first.contiguous(), last.contiguous()
    search_blocks[queries, batch](
        query, keys, first, last, blocks, chosen, queries, width, k, size, count, **sizes
    )


@triton.jit
def search_range(
    query,
    keys,
    first,
    last,
    chosen,
    queries,
    length,
    width,
    k,
    BLOCK: tl.constexpr,
    KEYS: tl.constexpr,
    KEPT: tl.constexpr,
    PANEL: tl.constexpr,
):
    """Write chosen (B, T, k); first and last are (B, T) int64; grid (blocks of queries, B)."""
    batch = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    valid = token < queries
    row = batch * queries + token
    first = tl.load(first + row, mask=valid, other=0)
    last = tl.load(last + row, mask=valid, other=-1)
    begin = tl.min(tl.where(first <= last, first, length)).to(tl.int32)
    end = tl.max(last + 1).to(tl.int32)
    best = tl.full((BLOCK, KEPT), EXCLUDED, tl.int64)
    for start in range(begin, end, KEYS):
        index = start + tl.arange(0, KEYS)
        similarity = tl.zeros((BLOCK, KEYS), tl.float32)
        for column in range(0, width, PANEL):
            q = load_rows(query, batch, token, valid, column, width - column, PANEL)
            k_panel = load_rows(keys, batch, index, index < length, column, width - column, PANEL)
            similarity += dot(q, tl.trans(k_panel))
        eligible = (index >= first[:, None]) & (index <= last[:, None])
        best = _keep_best(best, similarity, index[None, :], eligible, KEPT)
    _store_chosen(chosen, row, valid, best, k, KEPT)


@triton.jit
def search_blocks(
    query,
    keys,
    first,
    last,
    blocks,
    chosen,
    queries,
    width,
    k,
    size,
    count,
    KEYS: tl.constexpr,
    KEPT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Write the rows of chosen (B, T, k) whose query searches blocks (B, T, count); grid (T, B).

    A query's own block comes last; where it is negative, the query searches none and its row is left alone.
    """
    batch = tl.program_id(1).to(tl.int64)
    token = tl.program_id(0) + tl.arange(0, 1)
    row = batch * queries + token
    blocks += row * count
    if tl.max(tl.load(blocks + count - 1)) < 0:
        return
    q = load_rows(query, batch, token, token < queries, 0, width, WIDTH).to(tl.float32)
    first, last = tl.load(first + row), tl.load(last + row)
    best = tl.full((1, KEPT), EXCLUDED, tl.int64)
    offset = tl.arange(0, KEYS)
    for slot in range(count):
        block = tl.load(blocks + slot)
        index = block * size + offset
        eligible = (block >= 0) & (offset < size) & (index >= first) & (index <= last)
        rows = load_rows(keys, batch, index, eligible, 0, width, WIDTH)
        similarity = tl.sum(rows * q, 1)[None, :]
        best = _keep_best(best, similarity, index[None, :], eligible[None, :], KEPT)
    _store_chosen(chosen, row, token < queries, best, k, KEPT)


@triton.jit
def _keep_best(best, similarity, index, eligible, KEPT: tl.constexpr):
    """The KEPT greatest candidates of each row, in ascending order, after new ones have come."""
    candidate = (_level(similarity) << INDEX_BITS) + index
    new = tl.topk(tl.where(eligible, candidate, EXCLUDED), KEPT)
    return tl.bitonic_merge(tl.maximum(best, new))


@triton.jit
def _level(similarity):
    """The nearest integer to similarity · LEVELS, the even one of two, as torch.round."""
    scaled = similarity * LEVELS
    below = tl.floor(scaled)
    level, excess = below.to(tl.int64), scaled - below
    return level + ((excess > 0.5) | ((excess == 0.5) & ((level & 1) == 1))).to(tl.int64)


@triton.jit
def _store_chosen(chosen, row, valid, best, k, KEPT: tl.constexpr):
    """Write the indices of the k best candidates of each row, best first."""
    slot = KEPT - 1 - tl.arange(0, KEPT)[None, :]
    index = tl.where(best == EXCLUDED, -1, best & INDEX_MASK)
    tl.store(chosen + row[:, None] * k + slot, index, mask=valid[:, None] & (slot < k))
