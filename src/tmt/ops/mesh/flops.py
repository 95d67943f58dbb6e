"""Floating-point operations (a multiply-add is two) of each path, from the shapes it executes."""

from torch import Tensor

from tmt.ops.mesh import blocked, graph
from tmt.ops.mesh.types import GraphSpec


def attention_flops(
    positions: Tensor, window: int, slots: int, heads: int, width: int, routing: int, anchors: int, impl: str
) -> int:
    """Products of one :func:`tmt.ops.mesh.mesh_attention` call on the path `impl`.

    The fused path works on edges: the window and the neighbours that the past can fill. The blocked path
    multiplies whole blocks; masked scores are not free.

    Args: positions (B, T) of the queries; `slots` columns of the neighbour table; H heads of `width`;
        routing width R (0: no bias); M anchors.
    """
    per_anchor = 4 * heads * width
    per_key = per_anchor + 2 * routing
    if impl == "fused":
        seen = (positions + 1).clamp(max=window)
        past = (positions + 1 - window).clamp(0, slots)
        return int((seen + past).sum()) * per_key + positions.numel() * anchors * per_anchor
    blocks = _blocks(positions, blocked.QUERY_BLOCK)
    scored = sum(rows * (reach * per_key + anchors * per_anchor) for rows, _, reach in blocks)
    return positions.shape[0] * scored


def graph_flops(positions: Tensor, routing: int, spec: GraphSpec, impl: str) -> int:
    """Similarity products of one :func:`tmt.ops.mesh.build_graph` call on the path `impl`."""
    if spec.kind != "knn":
        return 0
    if impl == "fused":
        past = (positions + 1 - spec.window).clamp(min=0)
        searched = (positions // spec.block - 1).clamp(min=0) + (spec.k_global + 2) * spec.block
        return 2 * routing * int(past.where(positions < spec.exact_until, searched.minimum(past)).sum())
    total = 0
    for rows, first, reach in _blocks(positions, graph.QUERY_BLOCK):
        scored = 0
        if not spec.hierarchical_at(first):
            scored += min(reach, spec.exact_until)
        if spec.hierarchical_at(reach - 1):
            scored += max((reach - 1) // spec.block - 1, 0) + (spec.k_global + 2) * spec.block
        total += rows * 2 * routing * scored
    return positions.shape[0] * total


def _blocks(positions: Tensor, size: int) -> list[tuple[int, int, int]]:
    """(queries, first position, keys reached) of every block of query columns."""
    starts = range(0, positions.shape[1], size)
    blocks = [positions[:, start : start + size] for start in starts]
    return [(block.shape[1], int(block.min()), int(block.max()) + 1) for block in blocks]
