"""The mesh: which past tokens each token sees, and attention over them (specs: TMT §3, §4, §7).

Each operation has a readable reference, a vectorised path in plain PyTorch and a fused path (C on the CPU,
Triton on a GPU) behind one function. Left to itself it takes the fused path where that can be built and
takes the inputs, else the vectorised one; :func:`attention_impl` and :func:`graph_impl` say which.
"""

import torch
from torch import Tensor

from tmt.errors import InputError, unknown
from tmt.ops.mesh import blocked, fused_attention, fused_graph, graph, reference
from tmt.ops.mesh.flops import attention_flops, graph_flops
from tmt.ops.mesh.types import (
    Anchors,
    ForgetBias,
    GraphKind,
    GraphSpec,
    MeshInputs,
    SimilarityBias,
    anchor_scores,
)
from tmt.ops.precision import at_least_float32

__all__ = [
    "Anchors",
    "ForgetBias",
    "GraphKind",
    "GraphSpec",
    "MeshInputs",
    "SimilarityBias",
    "anchor_scores",
    "attention_flops",
    "attention_impl",
    "block_means",
    "build_graph",
    "checked_neighbours",
    "earliest_audible",
    "graph_flops",
    "graph_impl",
    "mesh_attention",
]

IMPLEMENTATIONS = ("fused", "blocked", "reference")


def graph_impl(routing: Tensor, spec: GraphSpec) -> str:
    """The path that :func:`build_graph` takes for vectors of that tensor's device and type."""
    return "fused" if spec.kind == "knn" and fused_graph.available(routing) else "blocked"


def attention_impl(q: Tensor, window: int) -> str:
    """The path that :func:`mesh_attention` takes for queries of that tensor's device and type."""
    return "fused" if fused_attention.available(q, window) else "blocked"


def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None = None,
    means: Tensor | None = None,
    impl: str | None = None,
) -> Tensor:
    """Choose the neighbours of every query among the tokens before its window.

    The k most similar past tokens by ``routing_q · routing_k`` (in float32 even under autocast, rounded
    to 1/16384; the nearest wins a tie), and their successors if asked. Queries at or beyond
    `spec.exact_until` look only inside the `k_global` complete past blocks of the most similar mean,
    their own block and the one before.

    Args:
        routing_q: (B, T, R) routing vectors of the queries.
        routing_k: (B, S, R) routing vectors of positions 0..S−1.
        positions: (B, T) int64 position of every query.
        spec: the graph's kind and sizes.
        earliest: (B, T) int64 first position each query may choose, or None for the beginning.
        means: (B, ≥ complete blocks, R) as :func:`block_means` gives them, where they are known.
        impl: one of `IMPLEMENTATIONS`, or None for :func:`graph_impl`.

    Returns:
        (B, T, spec.width) int32 key positions, −1 where there are fewer: distinct, in the past, outside
        the window. No gradient flows through the choice.
    """
    impl = impl or graph_impl(routing_q, spec)
    if impl not in IMPLEMENTATIONS:
        raise unknown("graph implementation", impl, IMPLEMENTATIONS)
    routing_q, routing_k = routing_q.detach(), routing_k.detach()
    with torch.autocast(routing_q.device.type, enabled=False):
        if impl == "reference":
            return reference.build_graph(routing_q, routing_k, positions, spec, earliest)
        if means is None:
            searched = routing_k.shape[1] if spec.hierarchical_at(routing_k.shape[1] - 1) else 0
            means = block_means(routing_k, spec.block, 0, searched // spec.block)
        build = fused_graph.build_graph if impl == "fused" else graph.build_graph
        return build(routing_q, routing_k, positions, spec, earliest, means)


def checked_neighbours(chosen: Tensor, positions: Tensor, spec: GraphSpec, name: str) -> Tensor:
    """Neighbours that were not chosen here, as :func:`build_graph` has them; looking waits for the device.

    Raises:
        InputError: they have another shape, are not whole numbers, lie in the window, in the future or before
            the text, or are named twice by one query.
    """
    shape = (*positions.shape, spec.width)
    if chosen.shape != shape or chosen.is_floating_point() or chosen.dtype == torch.bool:
        raise InputError(
            f"{name}.choose returns {chosen.dtype} {tuple(chosen.shape)}, which are to be integers {shape}"
        )
    ordered = chosen.sort(-1).values
    twice = ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)).any()
    last = (positions - spec.window).clamp(min=-1)[..., None]
    if bool(((chosen < -1) | (chosen > last)).any()):
        raise InputError(f"{name}.choose names tokens that are not before the window; -1 stands for none")
    if bool(twice):
        raise InputError(f"{name}.choose names a token twice for one query; -1 stands for none")
    return chosen.int()


def mesh_attention(inputs: MeshInputs, impl: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Attention over window, neighbours and anchors.

    For the kept keys j of query i and head h:
    ``α = softmax_j(q_i·k_j/√E + β_h r_i·r_j + F_ih − F_jh)`` over keys and anchors' scores together, and
    ``out_i = Σ_j α_ij 2σ(−rate_h (i−j)) v_j + Σ_m α_im v_m``.

    Args:
        inputs: what it reads.
        impl: one of `IMPLEMENTATIONS`, or None for :func:`attention_impl`.

    Returns:
        output (B, T, H, E) and the anchors' weights (B, T, M) averaged over heads, detached
        (None without anchors).
    """
    impl = impl or attention_impl(inputs.q, inputs.window)
    if impl == "fused":
        return fused_attention.mesh_attention(inputs)
    if impl == "blocked":
        return blocked.mesh_attention(inputs)
    if impl == "reference":
        output, weights = reference.mesh_attention(inputs)
        anchors = None if inputs.anchors is None else weights[..., -inputs.anchors.count :]
        return output, None if anchors is None else anchors.detach().mean(2)
    raise unknown("mesh attention implementation", impl, IMPLEMENTATIONS)


def block_means(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    """Means (B, count, R), at least float32, of the blocks of `block` rows from block `first` on.

    Rows (B, S, R) beyond the last are taken as zero: the mean of an incomplete block is of no use yet.
    A block's mean does not depend on the others that are asked for.
    """
    fast = fused_graph.available(rows)
    return (fused_graph if fast else graph).block_means(at_least_float32(rows), block, first, count)


def earliest_audible(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float = -20.0) -> Tensor:
    """First position that some head still hears, its bias ``forget_q − forget_k`` being at least `floor`.

    Args:
        forget_q: (B, T, H) cumulative log gates at the queries.
        forget_k: (B, S, H) at the keys; falling along S up to each query.
        positions: (B, T) int64 of the queries.
        floor: biases below it are as good as −∞ (e^−20 of a weight).

    Returns:
        (B, T) int64.
    """
    fast = fused_graph.available(forget_q)
    return (fused_graph if fast else graph).earliest_audible(forget_q, forget_k, positions, floor)
