"""Every Triton kernel against what it must equal, on the device, values and gradients."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from tmt.bench import mesh, squared_mlp
from tmt.bench.gpu.errors import last_line
from tmt.bench.gpu.window import WINDOW
from tmt.bench.mesh import MESH
from tmt.bench.op import DIRECTIONS, Op, Parts
from tmt.bench.parity import TOLERANCE
from tmt.bench.series import DTYPES, Precision
from tmt.bench.squared_mlp import SQUARED_MLP, through
from tmt.ops.mesh import build_graph
from tmt.ops.squared_mlp.choice import candidates

LENGTH = 640
"""Tokens of the second check of the mesh: many tiles, and the graph's search by blocks."""


def mesh_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """Attention and graph against the reference, then against the vectorised path over many tiles."""
    long = replace(
        MESH,
        name=f"mesh_attention at {LENGTH}",
        draw_small=_draw_long,
        ours_small=mesh.attend,
        reference=partial(mesh.attend, impl="blocked"),
    )
    for dtype in DTYPES:
        yield _graph_row(dtype, device)
        for op in (MESH, long, WINDOW):
            yield from _rows(op, dtype, device)


def mlp_rows(device: torch.device) -> Iterator[dict[str, Any]]:
    """Every path of the squared MLP."""
    for dtype in DTYPES:
        for op in mlp_paths(dtype, device):
            yield from _rows(op, dtype, device)


def mlp_paths(dtype: Precision, device: torch.device) -> Iterator[Op]:
    """The squared MLP by every path but the reference that can run there: by TMA, plain Triton, torch."""
    parts = squared_mlp.draw_small(DTYPES[dtype], device)
    paths = candidates(parts["x"], parts["up"]) if device.type == "cuda" else ["torch"]
    for impl in paths:
        if impl != "reference":
            call = partial(through, impl=impl)
            yield replace(SQUARED_MLP, choice=lambda parts, impl=impl: impl, ours=call, ours_small=call)


def _draw_long(dtype: torch.dtype, device: torch.device) -> Parts:
    parts = mesh.draw(1, LENGTH, dtype, device)
    return parts | mesh.on_grid(parts)


def _graph_row(dtype: Precision, device: torch.device) -> dict[str, Any]:
    parts = _draw_long(DTYPES[dtype], device)
    positions = torch.arange(LENGTH, device=device)[None]
    routing = parts["routing_q"], parts["routing_k"]
    ours, wanted = (build_graph(*routing, positions, mesh.SPEC, impl=impl) for impl in (None, "blocked"))
    different = int((ours != wanted).sum())
    return {"name": "build_graph", "dtype": dtype, "different": different, "equal": different == 0}


def _rows(op: Op, dtype: Precision, device: torch.device) -> Iterator[dict[str, Any]]:
    for direction in DIRECTIONS:
        what = {"name": op.name, "impl": op.impl(dtype, device), "dtype": dtype, "direction": direction}
        allowed = TOLERANCE[DTYPES[dtype]]
        try:
            errors = op.errors(direction, dtype, device)
        except Exception as error:  # whatever it is, the other kernels are checked
            yield what | {"error": last_line(error)}
            continue
        worst = max(errors, key=lambda name: (not math.isfinite(errors[name]), errors[name]))
        apart = errors[worst] if math.isfinite(errors[worst]) else None
        equal = apart is not None and apart <= allowed
        yield what | {"worst": worst, "apart": apart, "allowed": allowed, "equal": equal}
