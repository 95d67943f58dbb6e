"""Vectorised neighbour selection: blocks of queries against their past, never an S × S table."""

import torch
from torch import Tensor

from tmt.ops.mesh.reference import SIMILARITY_LEVELS
from tmt.ops.mesh.types import GraphSpec
from tmt.ops.precision import at_least_float32

QUERY_BLOCK = 64
_EXCLUDED = torch.iinfo(torch.int64).min
_POSITION_BITS = 24


@torch.no_grad()
def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None,
    means: Tensor,
) -> Tensor:
    """Neighbours of every query; same contract as :func:`tmt.ops.mesh.build_graph`."""
    blocks = []
    earliest = torch.zeros_like(positions) if earliest is None else earliest
    for start in range(0, positions.shape[1], QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        query, position, since = at_least_float32(routing_q[:, rows]), positions[:, rows], earliest[:, rows]
        first, last = int(position.min()), int(position.max())
        if not spec.hierarchical_at(last):
            chosen = _search_tokens(query, routing_k, position, since, last, spec)
        elif spec.hierarchical_at(first):
            chosen = _search_windows(query, routing_k, position, since, spec, means)
        else:
            near = _search_tokens(query, routing_k, position, since, spec.exact_until - 1, spec)
            far = _search_windows(query, routing_k, position, since, spec, means)
            chosen = torch.where((position < spec.exact_until)[..., None], near, far)
        blocks.append(chosen.int())
    if not blocks:
        return positions.new_zeros(positions.shape[0], 0, spec.width, dtype=torch.int32)
    chosen = torch.cat(blocks, 1)
    return with_successors(chosen, positions, spec) if spec.successors else chosen


@torch.no_grad()
def earliest_audible(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float) -> Tensor:
    """First position (B, T) that some head still hears; same contract as in :mod:`tmt.ops.mesh`."""
    rising = (-forget_k).cummax(1).values.transpose(1, 2).contiguous()
    wanted = (-forget_q + floor).transpose(1, 2).contiguous()
    return torch.searchsorted(rising, wanted).amin(1)


def _search_tokens(
    query: Tensor, keys: Tensor, position: Tensor, earliest: Tensor, last: int, spec: GraphSpec
) -> Tensor:
    """The k best tokens among positions 0..last."""
    batch, rows = position.shape
    token = torch.arange(last + 1, device=position.device).expand(batch, rows, -1)
    if spec.kind == "recent":
        level = torch.zeros_like(token)
    elif spec.kind == "random":
        level = spec.hash(position[..., None], token)
    else:
        level = _levels(query @ at_least_float32(keys[:, : last + 1]).transpose(1, 2))
    return _best(level, token, _eligible(token, position, earliest, spec), spec.k)


def block_means(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    """Means (B, count, R) of the blocks of `block` rows from block `first` on; see :mod:`tmt.ops.mesh`."""
    used = rows[:, first * block : (first + count) * block]
    missing = count * block - used.shape[1]
    return torch.nn.functional.pad(used, (0, 0, 0, missing)).unflatten(1, (count, block)).mean(2)


def _search_windows(
    query: Tensor, keys: Tensor, position: Tensor, earliest: Tensor, spec: GraphSpec, means: Tensor
) -> Tensor:
    """The k best tokens inside the k_global best complete windows and the two most recent ones."""
    batch, rows = position.shape
    own = position // spec.block
    complete = max(int(own.max()) - 1, 0)
    window = torch.arange(complete, device=position.device).expand(batch, rows, -1)
    level = _levels(query @ means[:, :complete].transpose(1, 2))
    best = _best(level, window, window <= own[..., None] - 2, spec.k_global)
    searched = torch.cat([best, own[..., None] - 1, own[..., None]], -1)
    token = searched[..., None] * spec.block + torch.arange(spec.block, device=position.device)
    token = token.masked_fill(searched[..., None] < 0, -1).flatten(2)
    row = torch.arange(batch, device=position.device)[:, None, None]
    gathered = at_least_float32(keys[row, token.clamp(0, keys.shape[1] - 1)])
    level = _levels(torch.einsum("btcr,btr->btc", gathered, query))
    return _best(level, token, _eligible(token, position, earliest, spec), spec.k)


def _eligible(token: Tensor, position: Tensor, earliest: Tensor, spec: GraphSpec) -> Tensor:
    return (token >= earliest[..., None]) & (token <= position[..., None] - spec.window)


def _levels(similarity: Tensor) -> Tensor:
    return (similarity * SIMILARITY_LEVELS).round().long()


def _best(level: Tensor, index: Tensor, eligible: Tensor, k: int) -> Tensor:
    """Indices of the k highest levels, nearest first among equals, −1 where fewer are eligible."""
    rank = ((level << _POSITION_BITS) + index).masked_fill(~eligible, _EXCLUDED)
    best, slot = rank.topk(min(k, rank.shape[-1]), -1)
    chosen = index.gather(-1, slot).masked_fill(best == _EXCLUDED, -1)
    return torch.nn.functional.pad(chosen, (0, k - chosen.shape[-1]), value=-1)


def with_successors(chosen: Tensor, positions: Tensor, spec: GraphSpec) -> Tensor:
    """Append j + 1 for every neighbour j, unless it is in the window or chosen already."""
    after = chosen + 1
    known = (after[..., :, None] == chosen[..., None, :]).any(-1)
    outside = after <= positions[..., None] - spec.window
    return torch.cat([chosen, after.masked_fill((chosen < 0) | known | ~outside, -1)], -1)
