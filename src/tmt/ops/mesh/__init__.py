"""The mesh: which past tokens each token sees, and attention over them (specs: TMT §3, §4, §7).

Two operations, each with a readable reference and a vectorised path behind one function. Fused kernels
take their place in the two tables below.
"""

from torch import Tensor

from tmt.errors import unknown
from tmt.ops.mesh import blocked, graph, reference
from tmt.ops.mesh.flops import attention_flops, graph_flops
from tmt.ops.mesh.types import Anchors, ForgetBias, GraphKind, GraphSpec, MeshInputs, SimilarityBias

__all__ = [
    "Anchors",
    "ForgetBias",
    "GraphKind",
    "GraphSpec",
    "MeshInputs",
    "SimilarityBias",
    "attention_flops",
    "build_graph",
    "graph_flops",
    "mesh_attention",
]

_GRAPH = {"reference": reference.build_graph, "blocked": graph.build_graph}


def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None = None,
    impl: str = "blocked",
) -> Tensor:
    """Choose the neighbours of every query among the tokens before its window.

    The k most similar past tokens by ``routing_q · routing_k`` (rounded to 1/16384; the nearest wins a
    tie), and their successors if asked. Queries at or beyond `spec.exact_until` look only inside the
    `k_global` complete past windows of the most similar mean, their own window and the one before.

    Args:
        routing_q: (B, T, R) routing vectors of the queries.
        routing_k: (B, S, R) routing vectors of positions 0..S−1.
        positions: (B, T) int64 position of every query.
        spec: the graph's kind and sizes.
        earliest: (B, T) int64 first position each query may choose, or None for the beginning.
        impl: "blocked" or "reference".

    Returns:
        (B, T, spec.width) int64 key positions, −1 where there are fewer: distinct, in the past, outside
        the window. No gradient flows through the choice.
    """
    if impl not in _GRAPH:
        raise unknown("graph implementation", impl, _GRAPH)
    return _GRAPH[impl](routing_q.detach(), routing_k.detach(), positions, spec, earliest)


def mesh_attention(inputs: MeshInputs, impl: str = "blocked") -> tuple[Tensor, Tensor | None]:
    """Attention over window, neighbours and anchors.

    For the kept keys j of query i and head h:
    ``α = softmax_j(q_i·k_j/√E + β_h r_i·r_j + F_ih − F_jh)`` over keys and anchors together, and
    ``out_i = Σ_j α_ij 2σ(−rate_h (i−j)) v_j + Σ_m α_im v_m``.

    Returns:
        output (B, T, H, E) and the anchors' weights (B, T, M) averaged over heads, detached
        (None without anchors).
    """
    if impl == "blocked":
        return blocked.mesh_attention(inputs)
    if impl == "reference":
        output, weights = reference.mesh_attention(inputs)
        anchors = None if inputs.anchors is None else weights[..., -inputs.anchors.count :]
        return output, None if anchors is None else anchors.detach().mean(2)
    raise unknown("mesh attention implementation", impl, ("blocked", "reference"))
