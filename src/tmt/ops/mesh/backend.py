"""Which compiled kernels serve a type of device: C on the CPU, Triton on a GPU."""

import importlib
import importlib.util
from functools import cache
from types import ModuleType

from torch import Tensor

from tmt.ops.mesh import cpu


def serves(device: str) -> bool:
    """Whether there are kernels for that type of device ("cpu", "cuda", …) on this machine."""
    return cpu.available() if device == "cpu" else device == "cuda" and _has_triton()


def attention(device: str) -> ModuleType:
    """The module whose `forward` and `backward` serve that type of device."""
    return cpu if device == "cpu" else importlib.import_module("tmt.ops.mesh.triton_attention")


def graph(device: str) -> ModuleType:
    """The module whose `build_graph` serves that type of device."""
    return cpu if device == "cpu" else importlib.import_module("tmt.ops.mesh.triton_graph")


def in_place(x: Tensor) -> Tensor:
    """(B, …) as the kernels read it: each batch row in one piece, as slices of a longer buffer are."""
    return x if not len(x) or x[0].is_contiguous() else x.contiguous()


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
