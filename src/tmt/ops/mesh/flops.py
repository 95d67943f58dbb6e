"""Floating-point operations (a multiply-add is two) of the vectorised paths, from the shapes they execute."""

from torch import Tensor

from tmt.ops.mesh import blocked, graph
from tmt.ops.mesh.types import GraphSpec


def attention_flops(positions: Tensor, heads: int, width: int, routing: int, anchors: int) -> int:
    """Matrix products of one :func:`tmt.ops.mesh.mesh_attention` call; masked scores are not free.

    Args: positions (B, T) of the queries; H heads of `width`; routing width R (0: no bias); M anchors.
    """
    per_key = 4 * heads * width
    blocks = _blocks(positions, blocked.QUERY_BLOCK)
    scored = sum(rows * (reach * (per_key + 2 * routing) + anchors * per_key) for rows, _, reach in blocks)
    return positions.shape[0] * scored


def graph_flops(positions: Tensor, routing: int, spec: GraphSpec) -> int:
    """Similarity products of one :func:`tmt.ops.mesh.build_graph` call."""
    if spec.kind != "knn":
        return 0
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
