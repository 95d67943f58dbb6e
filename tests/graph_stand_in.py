"""A GPU that captures graphs, played by the CPU, and a device without data."""

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

C_PATHS = ("norm", "linear", "swiglu", "gelu", "local_mix", "step")
"""What PyTorch does not see on the CPU, and what no GPU has."""


def tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def place(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


class Graph(TorchDispatchMode):
    """What `torch.cuda.CUDAGraph` does: operations are noted, not run, then run again on the same memory.

    To know shapes they are run here; what was there before the capture is put back afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replays = 0
        self._steps: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        given = tensors((args, kwargs))
        for x in given:
            if place(x) not in self._own | self._before.keys():
                whole = torch.empty(0, dtype=torch.uint8).set_(x.untyped_storage())
                self._before[place(x)] = (whole, whole.clone())
        result = func(*args, **kwargs)
        known = {place(x) for x in given}
        self._own |= {place(x) for x in tensors(result)} - self._before.keys()
        if func._schema.is_mutable or any(place(x) not in known for x in tensors(result)):
            self._steps.append((func, args, kwargs, result))
        return result

    def end(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)
        for _, _, _, result in self._steps:
            for x in tensors(result):
                if place(x) in self._own and x.dtype.is_floating_point:
                    x.fill_(float("nan"))

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, result in self._steps:
            again = func(*args, **kwargs)
            if not func._schema.is_mutable:
                for old, new in zip(tensors(result), tensors(again), strict=True):
                    old.copy_(new)


class Stream:
    def __init__(self, device: Any = None):
        self.device = device

    def wait_stream(self, other: "Stream") -> None:
        assert isinstance(other, Stream)


def pretend(patch: pytest.MonkeyPatch) -> list[Graph]:
    """CUDA's graphs are those of above; returns the ones that will have been captured."""
    captured: list[Graph] = []

    @contextmanager
    def capture(graph: Graph, stream: Stream):
        assert isinstance(stream, Stream)
        with graph:
            yield
        graph.end()
        captured.append(graph)

    @contextmanager
    def use(stream: Stream):
        yield

    for name, value in dict(
        CUDAGraph=Graph, graph=capture, Stream=Stream, stream=use, current_stream=Stream
    ).items():
        patch.setattr(torch.cuda, name, value)
    patch.setattr("tmt.generate.captured.possible", lambda device: True)
    without_c(patch)
    return captured


def without_c(patch: pytest.MonkeyPatch) -> None:
    for name in C_PATHS:
        patch.setattr(f"tmt.ops.{name}.available", lambda *inputs: False)


def offer_meta(patch: pytest.MonkeyPatch) -> None:
    """Let models run on `meta` by the paths that they take on a GPU; it knows no autocast."""
    without_c(patch)
    patch.setattr("tmt.ops.mesh.backend.serves", lambda device: True)
    patch.setattr(torch, "is_autocast_enabled", lambda device: False)
    patch.setattr(torch, "autocast", lambda *options, **named: nullcontext())


class Nowhere(TorchDispatchMode):
    """On `meta`, where there is no data to look at, nothing may come from the host either."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        seen = {x.device.type for x in tensors((args, kwargs, result))}
        assert seen <= {"meta"}, f"{func} meets a tensor of the host"
        return result
