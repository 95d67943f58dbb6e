"""MLP with a squared activation (So et al., 2021), leaky so that no unit dies."""

import torch
from torch import Tensor, nn

from tmt.layers.linear import Linear
from tmt.ops.squared_mlp import squared_leaky_relu, squared_linear, squared_linear_impl


class SquaredMLP(nn.Module):
    """``W_out f(W_in x)`` with f the squared leaky ReLU. Rows (n, D) to (n, D)."""

    def __init__(self, d_model: int, hidden: int, slope: float):
        """A slope of 0 makes f the squared ReLU."""
        super().__init__()
        self.slope = slope
        self.inner = Linear(d_model, hidden, bias=False)
        self.output = Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, D)."""
        impl = squared_linear_impl(x, self.inner.weight, self.slope)
        if impl == "reference":
            return self.output(squared_leaky_relu(self.inner(x), self.slope))
        return self.output(squared_linear(x, self.inner.weight, self.slope, impl))

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 4 * rows * self.inner.weight.numel()

    @torch.enable_grad()
    def ops(self, rows: int) -> dict[str, str]:
        """The path taken for that many rows while training."""
        weight = self.inner.weight.detach().requires_grad_()
        x = weight.new_zeros(rows, weight.shape[1])
        return {"squared_mlp": f"{squared_linear_impl(x, weight, self.slope)} at {rows}"}
