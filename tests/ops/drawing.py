"""Random inputs of the mesh operations, ragged as depth compaction and caching make them."""

from dataclasses import fields, replace

import torch
from torch import Tensor

from tmt.ops.mesh import GraphSpec, MeshInputs, build_graph

PARTS = ("neighbours", "routing", "decay", "forget", "anchors")


def draw_positions(batch: int, queries: int, keys: int) -> Tensor:
    """(B, T) distinct ascending positions, different in every row, some rows padded with zeros behind."""
    rows = []
    for b in range(batch):
        count = max(1, queries - b)
        chosen = torch.randperm(keys)[:count].sort().values
        rows.append(torch.cat([chosen, chosen.new_zeros(queries - count)]))
    return torch.stack(rows)


def draw_inputs(
    batch: int = 2,
    queries: int = 7,
    keys: int = 11,
    heads: int = 2,
    width: int = 4,
    window: int = 3,
    parts: tuple[str, ...] = PARTS,
    anchor_rows: int = 1,
    dtype: torch.dtype = torch.float64,
) -> MeshInputs:
    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype)

    positions = draw_positions(batch, queries, keys)
    inputs = MeshInputs(
        q=normal(batch, queries, heads, width),
        k=normal(batch, keys, heads, width),
        v=normal(batch, keys, heads, width),
        positions=positions,
        window=window,
    )
    routing_q, routing_k = normal(batch, queries, 3), normal(batch, keys, 3)
    if "neighbours" in parts:
        spec = GraphSpec(k=2, window=window)
        inputs.neighbours = build_graph(routing_q, routing_k, positions, spec, impl="reference")
    if "routing" in parts:
        inputs.routing_q, inputs.routing_k, inputs.similarity_gain = routing_q, routing_k, normal(heads)
    if "decay" in parts:
        inputs.decay_rate = torch.rand(heads, dtype=dtype)
    if "forget" in parts:
        inputs.forget_k = -torch.rand(batch, keys, heads, dtype=dtype).cumsum(1)
        inputs.forget_q = inputs.forget_k.gather(1, positions[..., None].expand(-1, -1, heads)).clone()
    if "anchors" in parts:
        inputs.anchor_k, inputs.anchor_v = (normal(anchor_rows, 2, heads, width) for _ in range(2))
    return inputs


def differentiable(inputs: MeshInputs) -> tuple[MeshInputs, list[Tensor]]:
    """A copy whose floating-point tensors ask for gradients, and those tensors."""
    leaves = {
        f.name: value.detach().clone().requires_grad_()
        for f in fields(inputs)
        if isinstance(value := getattr(inputs, f.name), Tensor) and value.is_floating_point()
    }
    return replace(inputs, **leaves), list(leaves.values())
