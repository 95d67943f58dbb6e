"""Mesh attention on GPUs: Triton kernels behind two functions. Not measured on a GPU.

Never imported by the package itself, because Triton is optional: whoever has tensors on a GPU imports it.
"""

from typing import Any

import torch
from torch import Tensor

from tmt.ops.mesh.triton_backward_keys import (
    IncomingEdges,
    KeyGradients,
    anchors_backward,
    graph_backward,
    window_backward,
)
from tmt.ops.mesh.triton_backward_queries import EdgeGradients, QueryGradients, queries_backward
from tmt.ops.mesh.triton_forward import anchor_usage, attend
from tmt.ops.mesh.triton_operands import Operands, Upstream, operands, tile_sizes
from tmt.ops.mesh.types import Anchors, Gradients, MeshInputs

ANCHOR_CHUNK = 512
"""Queries in one partial sum of the anchors' gradients."""
EDGES = 16
"""Incoming graph edges of a key that are read at once."""


def forward(inputs: MeshInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Attention as in :func:`tmt.ops.mesh.mesh_attention`.

    Returns:
        output (B, T, H, E) in the type of q; lse (B, T, H) float32, the log of the softmax's denominator;
        usage (B, T, M) float32, the anchors' weights averaged over heads (M = 0 without anchors).
    """
    x, sizes = operands(inputs), tile_sizes(inputs)
    output = torch.empty(inputs.q.shape, dtype=inputs.q.dtype, device=inputs.q.device)
    lse = _float32(inputs.q, *inputs.q.shape[:3])
    usage = _float32(inputs.q, *inputs.q.shape[:2], x.anchors)
    blocks, batch = _ceil_div(x.queries, sizes["BLOCK"]), inputs.q.shape[0]
    with torch.cuda.device_of(output):
        attend[blocks, x.heads, batch](x, output, lse, **sizes)
        if x.anchors:
            tiles = {name: sizes[name] for name in ("BLOCK", "ANCHORS")}
            anchor_usage[blocks, _ceil_div(x.anchors, sizes["ANCHORS"]), batch](x, lse, usage, **tiles)
    return output, lse, usage


def backward(inputs: MeshInputs, grad_output: Tensor, output: Tensor, lse: Tensor) -> Gradients:
    """Gradients of all inputs; equal inputs give equal bits.

    Args:
        inputs: what :func:`forward` read.
        grad_output: (B, T, H, E) gradient of its output.
        output: (B, T, H, E) its output.
        lse: (B, T, H) float32, its second result.
    """
    x, sizes = operands(inputs), tile_sizes(inputs)
    upstream = Upstream(grad_output.contiguous(), lse.contiguous(), _float32(lse, *lse.shape))
    similarity, forget, anchors = inputs.similarity, inputs.forget, inputs.anchors
    with torch.cuda.device_of(output):
        of_queries = _queries_backward(inputs, x, output.contiguous(), upstream, sizes)
        of_keys = _keys_backward(inputs, x, upstream, of_queries, sizes)
        anchor_v = None if anchors is None else _anchors_backward(anchors, x, upstream, sizes)
    return Gradients(
        q=of_queries.q,
        k=of_keys.k.to(inputs.k.dtype),
        v=of_keys.v.to(inputs.v.dtype),
        similarity_q=_total(of_queries.similarity, (2,), similarity.q if similarity else None),
        similarity_k=_total(of_keys.similarity, (2,), similarity.k if similarity else None),
        gain=_total(of_queries.gain, (0, 1), similarity.gain if similarity else None),
        forget_q=_total(of_queries.forget, (), forget.q if forget else None),
        forget_k=_total(of_keys.forget, (), forget.k if forget else None),
        decay_rate=_total(of_queries.decay_rate, (0, 1), inputs.decay_rate),
        anchor_scores=_total(of_queries.anchor_scores, (), anchors.scores if anchors else None),
        anchor_v=anchor_v,
    )


def _total(sums: Tensor | None, axes: tuple[int, ...], like: Tensor | None) -> Tensor | None:
    """Sums over `axes` in the type of `like`; None where the part is absent."""
    if sums is None or like is None:
        return None
    return (sums.sum(axes) if axes else sums).to(like.dtype)


def _queries_backward(
    inputs: MeshInputs, x: Operands, output: Tensor, upstream: Upstream, sizes: dict[str, Any]
) -> QueryGradients:
    batch, queries, heads, _ = inputs.q.shape
    blocks = _ceil_div(queries, sizes["BLOCK"])
    edges = (batch, heads, queries, x.slots)
    gradients = QueryGradients(
        q=torch.empty(inputs.q.shape, dtype=inputs.q.dtype, device=inputs.q.device),
        similarity=None if x.gain is None else _float32(output, batch, queries, heads, x.routing),
        forget=None if x.forget_q is None else _float32(output, batch, queries, heads),
        gain=None if x.gain is None else _float32(output, batch, blocks, heads),
        decay_rate=None if x.decay_rate is None else _float32(output, batch, blocks, heads),
        anchor_scores=_float32(output, batch, queries, heads, x.anchors) if x.anchors else None,
        edges=None if x.neighbours is None else EdgeGradients(*(_float32(output, *edges) for _ in range(2))),
    )
    queries_backward[blocks, heads, batch](x, output, upstream, gradients, **sizes)
    return gradients


def _keys_backward(
    inputs: MeshInputs, x: Operands, upstream: Upstream, of_queries: QueryGradients, sizes: dict[str, Any]
) -> KeyGradients:
    batch, keys, heads, width = inputs.k.shape
    gradients = KeyGradients(
        k=_float32(inputs.k, batch, keys, heads, width),
        v=_float32(inputs.k, batch, keys, heads, width),
        similarity=None if x.gain is None else _float32(inputs.k, batch, keys, heads, x.routing),
        forget=None if x.forget_k is None else _float32(inputs.k, batch, keys, heads),
    )
    ranges = _query_ranges(x, sizes["BLOCK"])
    window_backward[ranges.shape[1], heads, batch](x, ranges, upstream, gradients, **sizes)
    if x.neighbours is not None and of_queries.edges is not None:
        options: dict[str, Any] = {"EDGES": EDGES, "num_warps": 1}
        options |= {name: sizes[name] for name in ("WIDTH", "ROUTING")}
        incoming = _incoming_edges(x.neighbours, keys)
        graph_backward[keys, heads, batch](x, incoming, of_queries.edges, upstream, gradients, **options)
    return gradients


def _query_ranges(x: Operands, block: int) -> Tensor:
    """(B, blocks of keys, 2): the first query whose window may reach the block, the one after the last."""
    first = torch.arange(0, x.keys, block, device=x.positions.device)
    bounds = torch.stack([first, first + block + x.window - 1], -1).flatten()
    queries = torch.searchsorted(x.positions, bounds.expand(len(x.positions), -1).contiguous())
    return queries.unflatten(1, (-1, 2))


def _incoming_edges(neighbours: Tensor, keys: int) -> IncomingEdges:
    """Sort the graph by target; a missing neighbour is an edge to a key after the last."""
    target, order = neighbours.flatten(1).where(neighbours.flatten(1) >= 0, keys).sort(dim=1, stable=True)
    key = torch.arange(keys + 1, dtype=target.dtype, device=target.device).expand(len(target), -1)
    return IncomingEdges(order, torch.searchsorted(target, key.contiguous()))


def _anchors_backward(anchors: Anchors, x: Operands, upstream: Upstream, sizes: dict[str, Any]) -> Tensor:
    """Gradient of the anchors' values, summed over the rows that share them."""
    batch, chunks = len(x.positions), _ceil_div(x.queries, ANCHOR_CHUNK)
    partial = _float32(anchors.v, batch, chunks, x.anchors, x.heads, x.width)
    grid = (chunks, _ceil_div(x.anchors, sizes["ANCHORS"]), batch * x.heads)
    options: dict[str, Any] = {"CHUNK": ANCHOR_CHUNK}
    options |= {name: sizes[name] for name in ("BLOCK", "ANCHORS", "WIDTH")}
    anchors_backward[grid](x, upstream, partial, **options)
    shared = (0, 1) if len(anchors.v) < batch else 1
    return partial.sum(shared).view(anchors.v.shape).to(anchors.v.dtype)


def _ceil_div(count: int, size: int) -> int:
    return -(-count // size)


def _float32(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)
