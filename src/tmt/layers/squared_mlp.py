"""MLP with a squared activation (So et al., 2021), leaky so that no unit dies."""

import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.linear import Linear


def squared_leaky_relu(x: Tensor, slope: float) -> Tensor:
    """x² above zero, (slope · x)² below; never negative."""
    return F.leaky_relu(x, slope).square()


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
        return self.output(squared_leaky_relu(self.inner(x), self.slope))

    def flops(self, rows: int) -> int:
        """Operations for that many rows."""
        return 4 * rows * self.inner.weight.numel()
