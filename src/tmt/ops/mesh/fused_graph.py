"""Neighbour selection and its helpers as operators of PyTorch: C on the CPU, Triton on a GPU.

Nothing of size T × S exists. Every product of two vectors is summed in one order whatever else is in the
call, so that a token chooses the same neighbours alone and in company.
"""

import torch
from torch import Tensor

from tmt.ops.mesh import backend, cpu, graph
from tmt.ops.mesh.backend import in_place
from tmt.ops.mesh.types import GraphSpec
from tmt.ops.native import ELEMENTS


def available(rows: Tensor) -> bool:
    """Whether the operators take such vectors on this machine; they compute in float32."""
    return rows.dtype in ELEMENTS and backend.serves(rows.device.type)


def build_graph(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    spec: GraphSpec,
    earliest: Tensor | None,
    means: Tensor,
) -> Tensor:
    """See :func:`tmt.ops.mesh.build_graph`; `spec.kind` is "knn"."""
    sizes = (spec.k, spec.window, spec.successors, spec.block, spec.k_global, spec.exact_until)
    return torch.ops.tmt.build_graph(
        routing_q.float(), in_place(routing_k.float()), positions, earliest, in_place(means), *sizes
    )


def block_means(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    """See :func:`tmt.ops.mesh.block_means`."""
    return torch.ops.tmt.block_means(in_place(rows), block, first, count)


def earliest_audible(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float) -> Tensor:
    """See :func:`tmt.ops.mesh.earliest_audible`."""
    return torch.ops.tmt.earliest_audible(
        forget_q.detach().float(), in_place(forget_k.detach().float()), positions, floor
    )


def _choose_cpu(routing_q, routing_k, positions, earliest, means, *sizes) -> Tensor:
    earliest = None if earliest is None else earliest.contiguous()
    tensors = (routing_q.contiguous(), routing_k, positions.contiguous())
    return cpu.build_graph(*tensors, GraphSpec("knn", *sizes), earliest, means)


def _choose_cuda(routing_q, routing_k, positions, earliest, means, *sizes) -> Tensor:
    kernels = backend.graph("cuda")
    return kernels.build_graph(routing_q, routing_k, positions, GraphSpec("knn", *sizes), earliest, means)


def _choose_fake(routing_q, routing_k, positions, earliest, means, *sizes) -> Tensor:
    return positions.new_empty(*positions.shape, GraphSpec("knn", *sizes).width, dtype=torch.int32)


def _average_fake(rows, block, first, count) -> Tensor:
    return rows.new_empty(rows.shape[0], count, rows.shape[2])


def _listen_cpu(forget_q, forget_k, positions, floor) -> Tensor:
    return cpu.earliest_audible(forget_q.contiguous(), forget_k, positions.contiguous(), floor)


def _listen_fake(forget_q, forget_k, positions, floor) -> Tensor:
    return torch.empty_like(positions)


_OPERATORS = {
    "tmt::build_graph(Tensor routing_q, Tensor routing_k, Tensor positions, Tensor? earliest, Tensor means, "
    "int k, int window, bool successors, int block, int k_global, int exact_until) -> Tensor": (
        _choose_cpu,
        _choose_cuda,
        _choose_fake,
    ),
    "tmt::block_means(Tensor rows, int block, int first, int count) -> Tensor": (
        cpu.block_means,
        graph.block_means,
        _average_fake,
    ),
    "tmt::earliest_audible(Tensor forget_q, Tensor forget_k, Tensor positions, float floor) -> Tensor": (
        _listen_cpu,
        graph.earliest_audible,
        _listen_fake,
    ),
}

for _schema, (_on_cpu, _on_cuda, _fake) in _OPERATORS.items():
    _name, _signature = _schema.split("(", 1)
    torch.library.define(_name, "(" + _signature)
    torch.library.impl(_name, "cpu", _on_cpu)
    torch.library.impl(_name, "cuda", _on_cuda)
    torch.library.register_fake(_name, _fake)
