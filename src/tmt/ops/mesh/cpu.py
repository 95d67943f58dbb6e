"""Mesh attention and its graph in C: what the plain PyTorch paths do, edge by edge, nothing else.

See attention.h for how the work is laid out. Inputs are as the operators in :mod:`tmt.ops.mesh` make them.
"""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from tmt.ops import native
from tmt.ops.mesh.types import Gradients, GraphSpec, MeshInputs
from tmt.ops.native import pointer

_GRAPH = Path(__file__).with_name("graph.c")
_ATTENTION = {way: _GRAPH.with_name(f"attention_{way}.c") for way in ("forward", "backward")}
_PIECE = 64  # rows of one piece of work
_LANES = 16


def available() -> bool:
    """Whether the C code can be built on this machine."""
    return native.load(_GRAPH, PIECE=_PIECE) is not None


def forward(inputs: MeshInputs) -> tuple[Tensor, Tensor, Tensor]:
    """Output (B, T, H, E), log-sum-exp (B, T, H) and the anchors' weights (B, T, M), mean over heads."""
    batch, queries, heads, _ = inputs.q.shape
    output = torch.empty_like(inputs.q)
    log_sum = inputs.q.new_empty(batch, queries, heads, dtype=torch.float32)
    usage = log_sum.new_empty(batch, queries, inputs.anchors.count if inputs.anchors else 0)
    library, mesh = _attention_library("forward", inputs.q), _describe(inputs)
    library.forward(ctypes.byref(mesh), *map(pointer, (output, log_sum, usage)), _threads(inputs.q))
    return output, log_sum, usage


def backward(inputs: MeshInputs, grad_output: Tensor, output: Tensor, log_sum: Tensor) -> Gradients:
    """Gradients of every input; deterministic, whatever the number of threads."""
    batch, queries, heads, width = inputs.q.shape
    library, mesh = _attention_library("backward", inputs.q), _describe(inputs)
    count = inputs.anchors.count if inputs.anchors else 0
    bank = (count, heads, -(-width // _LANES) * _LANES)
    sizes = [count * heads * bank[2], heads, heads]
    grads = Gradients(*(torch.empty(x.shape, dtype=x.dtype) for x in (inputs.q, inputs.k, inputs.v)))
    edges = log_sum.new_empty(batch, queries, mesh.window + mesh.slots, 2 * heads + 1)
    partials = log_sum.new_empty(batch, -(-queries // _PIECE), sum(sizes))
    if inputs.similarity is not None:
        grads.similarity_q = torch.empty_like(inputs.similarity.q)
        grads.similarity_k = torch.empty(inputs.similarity.k.shape)
    if inputs.forget is not None:
        grads.forget_q = torch.empty_like(inputs.forget.q)
        grads.forget_k = torch.empty(inputs.forget.k.shape)
    if inputs.anchors is not None:
        grads.anchor_scores = torch.empty_like(inputs.anchors.scores)
    by_query = (grads.q, grads.similarity_q, grads.forget_q, grads.anchor_scores, edges, partials)
    by_query = (grad_output, output, log_sum, *by_query)
    library.backward_queries(ctypes.byref(mesh), *map(pointer, by_query), _threads(inputs.q))
    start = torch.empty(batch, inputs.k.shape[1] + 1, dtype=torch.int32)
    incoming = torch.empty(batch, queries * mesh.slots, dtype=torch.int32)
    by_key = (grad_output, edges, start, incoming, grads.k, grads.v, grads.similarity_k, grads.forget_k)
    library.backward_keys(ctypes.byref(mesh), *map(pointer, by_key), _threads(inputs.k))
    anchor_v, gain, decay_rate = partials.sum(1).split(sizes, -1)
    if inputs.similarity is not None:
        grads.gain = gain.sum(0)
    if inputs.decay_rate is not None:
        grads.decay_rate = decay_rate.sum(0)
    if inputs.anchors is not None:
        values = anchor_v.unflatten(1, bank)[..., :width].sum_to_size(inputs.anchors.v.shape)
        grads.anchor_v = values.to(inputs.q.dtype, copy=True)
    return grads


def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None,
    means: Tensor,
) -> Tensor:
    """Neighbours (B, T, spec.width) int32 by similarity; see :func:`tmt.ops.mesh.build_graph`."""
    batch, queries = positions.shape
    table = positions.new_empty(batch, queries, spec.width, dtype=torch.int32)
    search = _Search(
        *(batch, queries, *routing_k.shape[1:], means.shape[1], routing_k.stride(0), means.stride(0)),
        *(spec.k, spec.window, spec.block, spec.k_global, spec.exact_until, spec.successors),
        *map(pointer, (routing_q, routing_k, means, positions, earliest)),
    )
    many = queries >= _LANES
    groups = [
        x.new_empty(batch, -(-x.shape[1] // _LANES), x.shape[2], _LANES) for x in (routing_k, means) if many
    ]
    scratch = map(pointer, groups or (None, None))
    _graph_library().build_graph(ctypes.byref(search), *scratch, pointer(table), _threads(positions))
    return table


def block_means(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    """Means (B, count, R) of the blocks of `block` rows from block `first` on, of rows (B, S, R) float32."""
    means = rows.new_empty(rows.shape[0], count, rows.shape[2])
    sizes = (rows.stride(0), *rows.shape, block, first, count)
    _graph_library().block_means(pointer(rows), *map(ctypes.c_int64, sizes), pointer(means))
    return means


def earliest_audible(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float) -> Tensor:
    """First positions (B, T) that some head still hears; see :func:`tmt.ops.mesh.earliest_audible`."""
    earliest = torch.empty_like(positions)
    stride, sizes = ctypes.c_int64(forget_k.stride(0)), map(ctypes.c_int64, forget_q.shape)
    tensors = map(pointer, (forget_q, forget_k))
    _graph_library().earliest_audible(
        *tensors, stride, pointer(positions), *sizes, ctypes.c_float(floor), pointer(earliest)
    )
    return earliest


def _fields(kind: type, *names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names]


class _Mesh(ctypes.Structure):
    """`mesh` of attention.h."""

    _fields_ = [
        *_fields(
            ctypes.c_int64, "batch", "queries", "keys", "heads", "slots", "routing", "anchors", "window"
        ),
        *_fields(
            ctypes.c_int64, "k_stride", "v_stride", "similarity_stride", "forget_stride", "anchor_stride"
        ),
        *_fields(ctypes.c_void_p, "q", "k", "v", "positions", "neighbours"),
        *_fields(ctypes.c_void_p, "similarity_q", "similarity_k", "gain", "forget_q", "forget_k"),
        *_fields(ctypes.c_void_p, "decay_rate", "anchor_scores", "anchor_v"),
    ]


class _Search(ctypes.Structure):
    """`search` of graph.c."""

    _fields_ = [
        *_fields(ctypes.c_int64, "batch", "queries", "keys", "routing", "means", "key_stride", "mean_stride"),
        *_fields(ctypes.c_int64, "k", "window", "block", "k_global", "exact_until", "successors"),
        *_fields(ctypes.c_void_p, "q", "key", "mean", "positions", "earliest"),
    ]


def _describe(inputs: MeshInputs) -> _Mesh:
    batch, queries, heads, _ = inputs.q.shape
    similarity, forget, anchors = inputs.similarity, inputs.forget, inputs.anchors
    table = inputs.neighbours
    mesh = _Mesh(batch, queries, inputs.k.shape[1], heads, 0 if table is None else table.shape[2])
    mesh.window, mesh.k_stride, mesh.v_stride = inputs.window, inputs.k.stride(0), inputs.v.stride(0)
    tensors: dict[str, Tensor | None] = dict(
        q=inputs.q, k=inputs.k, v=inputs.v, positions=inputs.positions, neighbours=table
    )
    tensors["decay_rate"] = inputs.decay_rate
    if similarity is not None:
        mesh.routing, mesh.similarity_stride = similarity.k.shape[2], similarity.k.stride(0)
        tensors |= dict(similarity_q=similarity.q, similarity_k=similarity.k, gain=similarity.gain)
    if forget is not None:
        mesh.forget_stride = forget.k.stride(0)
        tensors |= dict(forget_q=forget.q, forget_k=forget.k)
    if anchors is not None:
        shared = len(anchors.v) < batch
        mesh.anchors, mesh.anchor_stride = anchors.count, 0 if shared else anchors.v.stride(0)
        tensors |= dict(anchor_scores=anchors.scores, anchor_v=anchors.v)
    for name, tensor in tensors.items():
        setattr(mesh, name, pointer(tensor))
    return mesh


def _attention_library(direction: str, q: Tensor) -> ctypes.CDLL:
    return native.library(_ATTENTION[direction], WIDTH=q.shape[-1], PIECE=_PIECE, **native.element(q.dtype))


def _graph_library() -> ctypes.CDLL:
    return native.library(_GRAPH, PIECE=_PIECE)


def _threads(rows: Tensor) -> ctypes.c_int:
    """For work on rows (B, T, …)."""
    return ctypes.c_int(native.threads(rows.shape[0] * -(-rows.shape[1] // _PIECE)))
