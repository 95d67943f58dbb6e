"""What a layer did, token by token: for the published diagnostics and for `tmt inspect`."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.exit_gate import Decision
from tmt.layers.mesh_attention import MeshResult
from tmt.layers.rows import Rows


@dataclass
class LayerTrace:
    """One layer's view of the tokens that ran it."""

    rows: Rows
    states: Tensor
    """(n, D) normalised states that entered the attention."""
    mesh: MeshResult
    gate: Tensor | None
    """(n,) share of the syntax stream in the FFN."""
    decision: Decision | None = None
    """The exit gate after this layer, over the same rows."""


def edge_list(trace: LayerTrace) -> tuple[Tensor, Tensor]:
    """Edges of one layer, window and neighbours alike, among the tokens of this call.

    Returns:
        edge_index (2, E) int64 over the flattened (B·T) tokens, row 0 receiving and row 1 its neighbour;
        edge_weight (E,), the similarity of their routing vectors (of their states where nothing routes).
    """
    inputs, rows = trace.mesh.inputs, trace.rows
    length = rows.grid_positions.shape[1]
    everything = torch.arange(rows.grid_positions.numel(), device=inputs.q.device)
    receiver = rows.take(everything)
    window = min(inputs.window, length)
    past = rows.positions[:, None] - torch.arange(window, device=inputs.q.device)
    if inputs.neighbours is not None:
        past = torch.cat([past, rows.unpack(inputs.neighbours)], 1)
    first = rows.take(rows.grid_positions[:, :1].expand_as(rows.grid_positions).flatten())
    here = past >= first[:, None]
    index = torch.stack(
        [receiver[:, None].expand_as(past)[here], (receiver[:, None] - rows.positions[:, None] + past)[here]]
    )
    if inputs.similarity is None:
        states = F.normalize(
            rows.put(trace.states.new_zeros(len(everything), trace.states.shape[1]), trace.states), dim=-1
        )
        return index, (states[index[0]] * states[index[1]]).sum(-1)
    query = rows.unpack(inputs.similarity.q)
    row = torch.arange(len(rows.grid_positions), device=index.device).repeat_interleave(length)
    keys = inputs.similarity.k[rows.take(row)[:, None].expand_as(past)[here], past[here]]
    slot = torch.arange(rows.count, device=index.device)[:, None].expand_as(past)[here]
    return index, (query[slot] * keys).sum(-1)
