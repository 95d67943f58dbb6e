"""Mesh attention as one differentiable operator of PyTorch: C on the CPU, Triton on a GPU.

Both walk over the kept edges only: time and memory grow with T · (window + K + M), nothing of size T × S
and no gathered copy of the keys exists. Sums are in float32, gradients deterministic.
"""

from typing import Any

import torch
from torch import Tensor

from tmt.ops.mesh import backend
from tmt.ops.mesh.backend import in_place
from tmt.ops.mesh.types import Anchors, ForgetBias, MeshInputs, SimilarityBias
from tmt.ops.native import ELEMENTS

WIDEST_WINDOW = 256
"""Beyond it the blocked path's matrix products are the better way."""


def available(q: Tensor, window: int) -> bool:
    """Whether the operator takes queries of that device and type on this machine."""
    fits = window <= WIDEST_WINDOW and q.dtype in ELEMENTS
    return fits and backend.serves(q.device.type)


def mesh_attention(inputs: MeshInputs) -> tuple[Tensor, Tensor | None]:
    """See :func:`tmt.ops.mesh.mesh_attention`."""
    output, _, usage = torch.ops.tmt.mesh_attention(*_flat(_prepared(inputs)))
    return output, usage.detach() if inputs.anchors else None


def _prepared(inputs: MeshInputs) -> MeshInputs:
    """Rows in one piece, one type for queries, keys and values, float32 for the biases."""
    dtype, table = inputs.q.dtype, inputs.neighbours
    similarity, forget, anchors = inputs.similarity, inputs.forget, inputs.anchors
    if similarity is not None:
        queries, keys = similarity.q.float().contiguous(), in_place(similarity.k.float())
        similarity = SimilarityBias(queries, keys, similarity.gain.float())
    if forget is not None:
        forget = ForgetBias(forget.q.float().contiguous(), in_place(forget.k.float()))
    if anchors is not None:
        anchors = Anchors(anchors.scores.float().contiguous(), anchors.v.to(dtype).contiguous())
    return MeshInputs(
        q=inputs.q.contiguous(),
        k=in_place(inputs.k.to(dtype)),
        v=in_place(inputs.v.to(dtype)),
        positions=inputs.positions.contiguous(),
        window=min(inputs.window, inputs.k.shape[1]),
        neighbours=None if table is None else table.int().contiguous(),
        similarity=similarity,
        forget=forget,
        decay_rate=None if inputs.decay_rate is None else inputs.decay_rate.float(),
        anchors=anchors,
    )


_INPUTS = (
    "Tensor q, Tensor k, Tensor v, Tensor positions, int window, Tensor? neighbours, "
    "Tensor? similarity_q, Tensor? similarity_k, Tensor? gain, Tensor? forget_q, Tensor? forget_k, "
    "Tensor? decay_rate, Tensor? anchor_scores, Tensor? anchor_v"
)
_DIFFERENTIABLE = (0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13)


def _flat(inputs: MeshInputs) -> tuple[Any, ...]:
    """The operator's arguments, in the order of `_INPUTS`."""
    similarity, forget, anchors = inputs.similarity, inputs.forget, inputs.anchors
    return (
        *(inputs.q, inputs.k, inputs.v, inputs.positions, inputs.window, inputs.neighbours),
        *((similarity.q, similarity.k, similarity.gain) if similarity else (None,) * 3),
        *((forget.q, forget.k) if forget else (None,) * 2),
        inputs.decay_rate,
        *((anchors.scores, anchors.v) if anchors else (None,) * 2),
    )


def _inputs(flat: tuple[Any, ...]) -> MeshInputs:
    """The inverse of :func:`_flat`."""
    return MeshInputs(
        *flat[:6],
        similarity=None if flat[6] is None else SimilarityBias(*flat[6:9]),
        forget=None if flat[9] is None else ForgetBias(*flat[9:11]),
        decay_rate=flat[11],
        anchors=None if flat[12] is None else Anchors(*flat[12:14]),
    )


def _forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    return backend.attention(flat[0].device.type).forward(_inputs(flat))


def _fake_forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    q, anchor_scores = flat[0], flat[12]
    log_sum = q.new_empty(q.shape[:3], dtype=torch.float32)
    usage = log_sum.new_empty(*q.shape[:2], 0 if anchor_scores is None else anchor_scores.shape[3])
    return torch.empty_like(q), log_sum, usage


def _backward(grad_output: Tensor, output: Tensor, log_sum: Tensor, *flat: Any) -> list[Tensor]:
    gradients = backend.attention(grad_output.device.type).backward(
        _inputs(flat), grad_output.contiguous(), output, log_sum
    )
    return [x for x in vars(gradients).values() if x is not None]


def _fake_backward(grad_output: Tensor, output: Tensor, log_sum: Tensor, *flat: Any) -> list[Tensor]:
    return [flat[i].new_empty(flat[i].shape) for i in _DIFFERENTIABLE if flat[i] is not None]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    ctx.window, ctx.present = inputs[4], [isinstance(x, Tensor) for x in inputs]
    ctx.save_for_backward(*output[:2], *tensors)
    ctx.mark_non_differentiable(*output[1:])


def _differentiate(ctx: Any, grad_output: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    output, log_sum, *tensors = ctx.saved_tensors
    rest = iter(tensors)
    flat = [next(rest) if here else None for here in ctx.present]
    flat[4] = ctx.window
    gradients = iter(torch.ops.tmt.mesh_attention_backward(grad_output, output, log_sum, *flat))
    wanted = [i in _DIFFERENTIABLE and flat[i] is not None for i in range(len(flat))]
    return tuple(next(gradients) if here else None for here in wanted)


torch.library.define("tmt::mesh_attention", f"({_INPUTS}) -> (Tensor, Tensor, Tensor)")
torch.library.define(
    "tmt::mesh_attention_backward",
    f"(Tensor grad_output, Tensor output, Tensor log_sum, {_INPUTS}) -> Tensor[]",
)
torch.library.impl("tmt::mesh_attention", ("cpu", "cuda"), _forward)
torch.library.impl("tmt::mesh_attention_backward", ("cpu", "cuda"), _backward)
torch.library.register_fake("tmt::mesh_attention", _fake_forward)
torch.library.register_fake("tmt::mesh_attention_backward", _fake_backward)
torch.library.register_autograd("tmt::mesh_attention", _differentiate, setup_context=_keep)
