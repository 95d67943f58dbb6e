"""Which path computes the hidden units: the fastest one that differentiates them, the readable one else."""

import importlib.util
import logging
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from tmt.ops.squared_mlp import operator, reference
from tmt.ops.squared_mlp.precision import autocast, compute_dtype

LEAST_PRODUCTS = 800_000
"""Products x Wᵀ from which on the operator pays on a CPU: what it saves is traffic with memory.

A forward and backward pass of the MLP took 0.66 to 0.85 of the readable form's time for 2048 rows of 192 to
512 channels in bfloat16, 0.88 to 0.97 in float32, with AVX2 alone 0.81 to 0.96; for 256 rows it took more.
"""
REPETITIONS = 5
"""Of every path on a GPU, after one that may compile, before the fastest is known."""

_log = logging.getLogger(__name__)
_fastest: dict[tuple[object, ...], str] = {}


def squared_linear_impl(x: Tensor, weight: Tensor, slope: float) -> str:
    """The path that :func:`tmt.ops.squared_mlp.squared_linear` takes for such tensors.

    It is "reference" where the weight needs no gradient; under `torch.compile`, which fuses that itself; in
    float64; for few rows; and on devices other than these. On a CPU it is "torch". On a GPU the paths that
    its capability and the shape allow are timed, forward and backward, when such a shape comes first; that
    is not measured on a GPU. The choice is logged.
    """
    if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and weight.requires_grad):
        return "reference"
    dtype, rows = compute_dtype(x), x.shape[:-1].numel()
    if dtype == torch.float64 or rows * len(weight) < LEAST_PRODUCTS:
        return "reference"
    if x.device.type == "cpu":
        _report("torch", f"{dtype} on the CPU")
        return "torch"
    return _measured(x, weight, slope) if x.device.type == "cuda" else "reference"


def path(impl: str) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The function of that name."""
    return reference.squared_linear if impl == "reference" else partial(operator.squared_linear, impl=impl)


def candidates(x: Tensor, weight: Tensor) -> list[str]:
    """The paths that can run for x (n, D) and weight (H, D) of one type on their GPU, fall-backs last."""
    names = ["torch", "reference"]
    if importlib.util.find_spec("triton") is None:
        return names
    names.insert(0, "triton")
    whole = all(size * x.element_size() % 16 == 0 for size in weight.shape)
    if whole and x.element_size() == 2 and _has_descriptors(x.device):
        names.insert(0, "tma")
    return names


def _has_descriptors(device: torch.device) -> bool:
    known = importlib.util.find_spec("triton.tools.tensor_descriptor") is not None
    return known and torch.cuda.get_device_capability(device) >= (9, 0)


def _measured(x: Tensor, weight: Tensor, slope: float) -> str:
    """The fastest path for such tensors; numbers of rows up to the same power of two are one shape."""
    dtype, rows = compute_dtype(x), x.shape[:-1].numel()
    shape = (1 << (rows - 1).bit_length(), *weight.shape)
    key = (x.device, dtype, shape, slope)
    if key not in _fastest:
        x, weight = autocast(x.detach()), autocast(weight.detach())
        with torch.autocast(x.device.type, enabled=False):
            _fastest[key] = _fastest_of(candidates(x, weight), x, weight, slope)
        _report(_fastest[key], f"{dtype} for {shape} rows, units and channels on {x.device}")
    return _fastest[key]


def _fastest_of(names: list[str], x: Tensor, weight: Tensor, slope: float) -> str:
    seconds = {}
    for name in names:
        try:
            seconds[name] = _seconds(name, x, weight, slope)
        except Exception as error:  # what a compiler or a driver raises for a kernel too large for the GPU
            _log.warning("squared MLP: no %s path on %s: %s", name, x.device, error)
    return min(seconds, key=seconds.__getitem__, default="reference")


def _seconds(name: str, x: Tensor, weight: Tensor, slope: float) -> float:
    """Time of some forward and backward passes."""
    leaves = x.requires_grad_(), weight.requires_grad_()

    def passes(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            units = path(name)(*leaves, slope)
            torch.autograd.grad(units, leaves, units.detach())
        torch.accelerator.synchronize(x.device)
        return time.perf_counter() - start

    passes(1)
    return passes(REPETITIONS)


@cache
def _report(impl: str, where: str) -> None:
    _log.info("squared MLP in %s: %s path", where, impl)
