"""MLP of a squared leaky ReLU that keeps units and slopes, against the one that autograd derives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.bench.op import Op, Parts
from tmt.ops.squared_mlp import squared_linear, squared_linear_impl

WIDTH, HIDDEN = 512, 2048
SLOPE = 0.5
SMALL_ROWS = 500
"""Rows of the parity check: enough for every path, and of no tile a multiple."""


def fastest(parts: Parts) -> Tensor:
    """Ours: the path of training, forward alone too, with the ordinary product behind it."""
    return through(parts, choice(parts))


def derived(parts: Parts) -> Tensor:
    """The reference, and what a user would write."""
    return through(parts, "reference")


def through(parts: Parts, impl: str) -> Tensor:
    """The MLP by one path."""
    return F.linear(squared_linear(parts["x"], parts["up"], SLOPE, impl), parts["down"])


@torch.enable_grad()
def choice(parts: Parts) -> str:
    """The path of training."""
    return squared_linear_impl(parts["x"], parts["up"].detach().requires_grad_(), SLOPE)


def draw(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> Parts:
    """Rows (B·S, WIDTH) and both weights, such that units and outputs are of order 1."""
    torch.manual_seed(0)
    return {
        "x": torch.randn(batch * length, WIDTH, device=device).to(dtype),
        "up": (torch.randn(HIDDEN, WIDTH, device=device) * WIDTH**-0.5).to(dtype),
        "down": (torch.randn(WIDTH, HIDDEN, device=device) * HIDDEN**-0.5).to(dtype),
    }


def draw_small(dtype: torch.dtype, device: torch.device) -> Parts:
    """A few rows."""
    return draw(1, SMALL_ROWS, dtype, device)


SQUARED_MLP = Op(
    name="squared_mlp",
    choice=choice,
    draw=draw,
    ours=fastest,
    peer_name="linear, leaky_relu, square, linear",
    peer=derived,
    peer_parts=lambda parts: parts,
    draw_small=draw_small,
    ours_small=fastest,
    reference=derived,
)
