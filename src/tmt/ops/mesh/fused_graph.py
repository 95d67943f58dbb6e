"""Neighbour selection and its helpers as operators of PyTorch: C on the CPU, Triton on a GPU.

Nothing of size T × S exists. Every product of two vectors is summed in one order whatever else is in the
call, so that a token chooses the same neighbours alone and in company.
"""

import importlib

import torch
from torch import Tensor

from tmt.ops.mesh import cpu, graph
from tmt.ops.mesh.types import GraphSpec


def available(rows: Tensor) -> bool:
    """Whether the operators take such vectors on this machine; they compute in float32."""
    device, fits = rows.device.type, rows.dtype in (torch.float32, torch.bfloat16)
    return fits and (device == "cuda" or (device == "cpu" and cpu.available()))


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
    return _choose(routing_q.float(), _rows(routing_k.float()), positions, earliest, _rows(means), *sizes)


def block_means(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    """See :func:`tmt.ops.mesh.block_means`."""
    return _average(_rows(rows), block, first, count)


def earliest_audible(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float) -> Tensor:
    """See :func:`tmt.ops.mesh.earliest_audible`."""
    return _listen(forget_q.detach().float(), _rows(forget_k.detach().float()), positions, floor)


def _rows(x: Tensor) -> Tensor:
    """(B, …) whose batch rows are each in one piece, as slices of a longer buffer are."""
    return x if not len(x) or x[0].is_contiguous() else x.contiguous()


@torch.library.custom_op("tmt::build_graph", mutates_args=())
def _choose(
    routing_q: Tensor,
    routing_k: Tensor,
    positions: Tensor,
    earliest: Tensor | None,
    means: Tensor,
    k: int,
    window: int,
    successors: bool,
    block: int,
    k_global: int,
    exact_until: int,
) -> Tensor:
    spec = GraphSpec("knn", k, window, successors, block, k_global, exact_until)
    if routing_q.device.type == "cpu":
        earliest = None if earliest is None else earliest.contiguous()
        return cpu.build_graph(
            routing_q.contiguous(), routing_k, positions.contiguous(), spec, earliest, means
        )
    triton_graph = importlib.import_module("tmt.ops.mesh.triton_graph")
    return triton_graph.build_graph(routing_q, routing_k, positions, spec, earliest)


@_choose.register_fake
def _(routing_q, routing_k, positions, earliest, means, k, window, successors, *_):
    return positions.new_empty(*positions.shape, k * (2 if successors else 1))


@torch.library.custom_op("tmt::block_means", mutates_args=())
def _average(rows: Tensor, block: int, first: int, count: int) -> Tensor:
    return (cpu if rows.device.type == "cpu" else graph).block_means(rows, block, first, count)


@_average.register_fake
def _(rows, block, first, count):
    return rows.new_empty(rows.shape[0], count, rows.shape[2])


@torch.library.custom_op("tmt::earliest_audible", mutates_args=())
def _listen(forget_q: Tensor, forget_k: Tensor, positions: Tensor, floor: float) -> Tensor:
    if forget_q.device.type == "cpu":
        return cpu.earliest_audible(forget_q.contiguous(), forget_k, positions.contiguous(), floor)
    return graph.earliest_audible(forget_q, forget_k, positions, floor)


@_listen.register_fake
def _(forget_q, forget_k, positions, floor):
    return torch.empty_like(positions)
