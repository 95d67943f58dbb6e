"""Vectorised mesh attention: blocks of queries against the keys up to them, masked to the kept edges.

Arithmetic grows with S² (the mask hides work, it does not save it); memory does not: beyond
`SAVE_LIMIT` keys a block's scores are recomputed in the backward pass instead of stored.
"""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tmt.ops.mesh.types import MeshInputs
from tmt.ops.precision import at_least_float32

QUERY_BLOCK = 128
SAVE_LIMIT = 512


def mesh_attention(inputs: MeshInputs) -> tuple[Tensor, Tensor | None]:
    """Output (B, T, H, E) and the anchors' weights (B, T, M), mean over heads (None without anchors)."""
    outputs, usage = [], []
    recompute = torch.is_grad_enabled() and inputs.k.shape[1] > SAVE_LIMIT
    for start in range(0, inputs.q.shape[1], QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        reach = inputs.k.shape[1] if inputs.whole else int(inputs.positions[:, rows].max()) + 1
        arguments = (inputs, rows, reach)
        output, weights = (
            checkpoint(_attend, *arguments, use_reentrant=False) if recompute else _attend(*arguments)
        )
        outputs.append(output)
        usage.append(weights)
    if not outputs:
        return inputs.q, inputs.q.new_zeros(
            *inputs.q.shape[:2], inputs.anchors.count
        ) if inputs.anchors else None
    return torch.cat(outputs, 1), torch.cat(usage, 1) if inputs.anchors else None


def _attend(inputs: MeshInputs, rows: slice, reach: int) -> tuple[Tensor, Tensor | None]:
    """The queries of some columns against the first `reach` keys; every product is heads first."""
    q = inputs.q[:, rows].transpose(1, 2) * inputs.q.shape[-1] ** -0.5
    k, v = (x[:, :reach].transpose(1, 2) for x in (inputs.k, inputs.v))
    distance = inputs.positions[:, rows, None] - torch.arange(reach, device=q.device)
    logits = q @ k.transpose(-1, -2)
    if inputs.similarity is not None:
        similarity = inputs.similarity.q[:, rows] @ inputs.similarity.k[:, :reach].transpose(1, 2)
        logits = logits + inputs.similarity.gain[:, None, None] * similarity[:, None]
    if inputs.forget is not None:
        heard, said = inputs.forget.q[:, rows].transpose(1, 2), inputs.forget.k[:, :reach].transpose(1, 2)
        logits = logits + heard[..., :, None] - said[..., None, :]
    logits = logits.masked_fill(~_kept(inputs, rows, distance)[:, None], -torch.inf)
    if inputs.anchors is not None:
        logits = torch.cat([logits, inputs.anchors.scores[:, rows].transpose(1, 2)], -1)
    weights = at_least_float32(logits).softmax(-1).to(v.dtype)
    past, memory = weights[..., :reach], weights[..., reach:]
    if inputs.decay_rate is not None:
        past = past * (2 * torch.sigmoid(-inputs.decay_rate[:, None, None] * distance[:, None])).to(v.dtype)
    output = past @ v
    if inputs.anchors is None:
        return output.transpose(1, 2), None
    output = output + memory @ inputs.anchors.v.transpose(1, 2)
    return output.transpose(1, 2), at_least_float32(memory.detach()).mean(1)


def _kept(inputs: MeshInputs, rows: slice, distance: Tensor) -> Tensor:
    """(B, rows, reach) bool: inside the window, or a neighbour."""
    kept = (distance >= 0) & (distance < inputs.window)
    if inputs.neighbours is None:
        return kept
    neighbours = inputs.neighbours[:, rows].long()
    spare = distance.shape[-1]  # one more column takes the missing neighbours
    table = kept.new_zeros(*kept.shape[:2], spare + 1)
    table.scatter_(2, neighbours.masked_fill(neighbours < 0, spare), True)
    return kept | table[..., :spare]
