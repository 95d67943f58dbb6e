"""Random inputs of the mesh operations, ragged as depth compaction and caching make them."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tmt.ops.mesh import Anchors, ForgetBias, GraphSpec, MeshInputs, SimilarityBias, build_graph

PARTS = ("neighbours", "routing", "decay", "forget", "anchors")


def draw_positions(batch: int, queries: int, keys: int) -> Tensor:
    """(B, T) distinct ascending positions, different in every row; padding repeats a row's last one."""
    rows = []
    for b in range(batch):
        count = max(1, queries - b)
        chosen = torch.randperm(keys)[:count].sort().values
        rows.append(torch.cat([chosen, chosen[-1:].expand(queries - count)]))
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
        inputs.similarity = SimilarityBias(routing_q, routing_k, normal(heads))
    if "decay" in parts:
        inputs.decay_rate = torch.rand(heads, dtype=dtype)
    if "forget" in parts:
        said = -torch.rand(batch, keys, heads, dtype=dtype).cumsum(1)
        inputs.forget = ForgetBias(said.gather(1, positions[..., None].expand(-1, -1, heads)).clone(), said)
    if "anchors" in parts:
        inputs.anchors = Anchors(normal(batch, queries, heads, 2), normal(anchor_rows, 2, heads, width))
    return inputs


def differentiable(inputs: MeshInputs) -> tuple[MeshInputs, list[Tensor]]:
    """A copy whose floating-point tensors ask for gradients, and those tensors."""
    leaves: list[Tensor] = []

    def leaf(tensor: Tensor) -> Tensor:
        leaves.append(tensor.detach().clone().requires_grad_())
        return leaves[-1]

    return mapped(inputs, leaf), leaves


def mapped(inputs: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A copy with every floating-point tensor changed, in the order of the fields."""
    new = {}
    for f in fields(inputs):
        value = getattr(inputs, f.name)
        if is_dataclass(value):
            new[f.name] = mapped(value, change)
        elif isinstance(value, Tensor) and value.is_floating_point():
            new[f.name] = change(value)
    return replace(inputs, **new)
