"""Hidden units as one differentiable operator of PyTorch, which keeps their slopes and not the products."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tmt.ops.squared_mlp.precision import autocast


def squared_linear(x: Tensor, weight: Tensor, slope: float, impl: str) -> Tensor:
    """See :func:`tmt.ops.squared_mlp.squared_linear`; every path but the reference."""
    x, weight = autocast(x), autocast(weight)
    rows = x.reshape(x.shape[:-1].numel(), x.shape[-1])
    units, _ = torch.ops.tmt.squared_linear(rows, weight, slope, impl)
    return units.view(*x.shape[:-1], len(weight))


def _forward(x: Tensor, weight: Tensor, slope: float, impl: str) -> tuple[Tensor, Tensor]:
    """f and f′ of x (n, D) times weight (H, D), both (n, H)."""
    if impl == "tma":
        from tmt.ops.squared_mlp import triton_tma

        return triton_tma.units_and_slopes(x, weight, slope)
    if impl == "triton":
        from tmt.ops.squared_mlp import triton_units

        return triton_units.units_and_slopes(x, weight, slope)
    products = F.linear(x, weight)
    units = F.leaky_relu(products, slope).square_()
    return units, F.leaky_relu_(products, slope * slope).mul_(2)


def _fake_forward(x: Tensor, weight: Tensor, slope: float, impl: str) -> tuple[Tensor, Tensor]:
    units = x.new_empty(len(x), len(weight))
    return units, torch.empty_like(units)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[1])
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)  # no zeros for the slopes


@once_differentiable
def _differentiate(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 4
    x, weight, slopes = ctx.saved_tensors
    grad_products = grad * slopes
    return grad_products @ weight, grad_products.T @ x, None, None


torch.library.define(
    "tmt::squared_linear", "(Tensor x, Tensor weight, float slope, str impl) -> (Tensor, Tensor)"
)
torch.library.impl("tmt::squared_linear", "default", _forward)
torch.library.register_fake("tmt::squared_linear", _fake_forward)
torch.library.register_autograd("tmt::squared_linear", _differentiate, setup_context=_keep)
