"""What a model does with a text, layer by layer and token by token, for `tmt inspect`."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.errors import InputError
from tmt.evaluate.report import finite
from tmt.layers.mesh_attention import MeshAttention
from tmt.model.base import LanguageModel
from tmt.model.model import TMTModel, TMTOutput
from tmt.model.trace import LayerTrace
from tmt.ops.mesh.reference import mesh_attention
from tmt.tokens import Tokenizer

LONGEST_TEXT = 256
"""Tokens; attention weights come from the readable reference, which takes its time."""


def inspect_text(
    model: LanguageModel, tokenizer: Tokenizer, text: str, *, top: int = 3, layer: int | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One record about the model and one for each token of document start + `text`.

    Args:
        model: in eval mode.
        tokenizer: the model's.
        text: at most 256 tokens.
        top: strongest past tokens to name.
        layer: whose attention to show, from 0; None: the last one that is a mesh.

    Returns:
        The model's record has "layers" (per layer: half_lives, similarity_gains, tokens that ran it,
        mean gate) and "memory" (anchors, their shares of use, usage, effective_rank; None without). A
        token's has position, id, text, nats (of the token after it), layers_run, exit_layer (None: never
        left), gates (share of the syntax stream per layer), layer (whose attention follows), attends
        (past tokens), self and memory (weights; None where the token skipped that layer). An
        architecture without traces has position, id, text and nats only. None stands for no value.

    Raises:
        InputError: the text is empty or too long, or there is no such layer.
    """
    ids = _encode(tokenizer, text)
    if top < 0:
        raise InputError(f"top={top} must not be negative")
    layer = _shown_layer(model, layer)
    return _inspect(model, tokenizer, ids, top, layer)


@torch.inference_mode()
def _inspect(
    model: LanguageModel, tokenizer: Tokenizer, ids: list[int], top: int, layer: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    tokens = torch.tensor([ids], device=next(model.parameters()).device)
    output = model(tokens)
    records = _basic_records(tokenizer, ids, output.logits[0])
    if not isinstance(model, TMTModel) or not isinstance(output, TMTOutput):
        return {"layers": [], "memory": None}, records
    _add_depth(records, output, model.config.n_layers)
    _add_attention(records, output.traces[layer], layer, top)
    layers = [_layer_record(model, index, trace) for index, trace in enumerate(output.traces)]
    return {"layers": layers, "memory": _memory_record(model)}, records


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    if not ids:
        raise InputError("the text to inspect is empty")
    if len(ids) > LONGEST_TEXT:
        raise InputError(f"the text has {len(ids)} tokens; inspect at most {LONGEST_TEXT}")
    return [tokenizer.eot_id, *ids]


def _shown_layer(model: LanguageModel, layer: int | None) -> int:
    if layer is None:
        dense = getattr(model.config, "dense_layers", ())
        mesh = [index for index in range(model.config.n_layers) if index not in dense]
        return mesh[-1] if mesh else model.config.n_layers - 1
    if not 0 <= layer < model.config.n_layers:
        raise InputError(f"layer={layer} must be in [0, {model.config.n_layers - 1}]")
    return layer


def _basic_records(tokenizer: Tokenizer, ids: list[int], logits: Tensor) -> list[dict[str, Any]]:
    following = torch.tensor(ids[1:], device=logits.device)
    nats = F.cross_entropy(logits[:-1].double(), following, reduction="none").tolist()
    pieces = [tokenizer.token_bytes(token).decode(errors="replace") for token in ids]
    return [
        {"position": position, "id": token, "text": piece, "nats": finite(loss)}
        for position, (token, piece, loss) in enumerate(zip(ids, pieces, [*nats, torch.nan], strict=True))
    ]


def _add_depth(records: list[dict[str, Any]], output: TMTOutput, n_layers: int) -> None:
    depth = [n_layers] * len(records) if output.depth is None else output.depth[0].tolist()
    left = torch.stack(output.exit_masks or [])[:, 0]
    gates = [_on_grid(trace, trace.gate) for trace in output.traces]
    for record in records:
        t = record["position"]
        record["layers_run"] = depth[t]
        record["exit_layer"] = int(left[:, t].int().argmax()) if left[-1, t] else None
        record["gates"] = [None if gate is None else finite(float(gate[t])) for gate in gates]


def _add_attention(records: list[dict[str, Any]], trace: LayerTrace, layer: int, top: int) -> None:
    """Add the strongest weights (mean over heads) of one layer; under decay they sum to less than 1."""
    inputs, rows = trace.mesh.read(), trace.rows
    weights = rows.unpack(mesh_attention(inputs)[1].mean(2)).cpu()
    own = dict(zip(rows.positions.tolist(), weights, strict=True))
    for t, record in enumerate(records):
        record |= {"layer": layer, "attends": None, "self": None, "memory": None}
        if t in own:
            past, itself, anchors = own[t][:t], own[t][t], own[t][len(records) :]
            record["attends"] = _strongest(past, records, inputs.window, top)
            record["self"] = float(itself)
            record["memory"] = float(anchors.sum()) if len(anchors) else None


def _strongest(past: Tensor, records: list[dict[str, Any]], window: int, top: int) -> list[dict[str, Any]]:
    """The `top` largest of the weights (t,) that token t gives to the tokens before it."""
    weights, positions = past.topk(min(top, len(past)))
    return [
        {
            "position": j,
            "text": records[j]["text"],
            "weight": weight,
            "kind": "window" if len(past) - j < window else "graph",
        }
        for weight, j in zip(weights.tolist(), positions.tolist(), strict=True)
        if weight > 0
    ]


def _on_grid(trace: LayerTrace, values: Tensor | None) -> Tensor | None:
    """(n,) values of the layer's rows as (T,), NaN for tokens that skipped it."""
    if values is None:
        return None
    grid = values.new_full((trace.rows.grid_positions.numel(),), torch.nan)
    return trace.rows.put(grid, values)


def _layer_record(model: TMTModel, index: int, trace: LayerTrace) -> dict[str, Any]:
    attention = cast(MeshAttention, model.blocks[index].attention)
    fading = attention.decay or attention.forget
    gains = attention.similarity_gain
    return {
        "layer": index,
        "tokens": trace.rows.count,
        "half_lives": None if fading is None else [finite(x) for x in fading.half_lives().tolist()],
        "similarity_gains": None if gains is None else gains.tolist(),
        "mean_gate": None if trace.gate is None else finite(float(trace.gate.mean())),
    }


def _memory_record(model: TMTModel) -> dict[str, Any] | None:
    memory = model.memory
    if memory is None:
        return None
    return {
        "anchors": len(memory.count),
        "shares": (memory.count / memory.count.sum()).tolist(),
        "usage": memory.usage(),
        "effective_rank": memory.effective_rank(),
    }
