"""The squared leaky ReLU of a linear layer as one would write it down."""

import torch.nn.functional as F
from torch import Tensor


def squared_leaky_relu(x: Tensor, slope: float) -> Tensor:
    """x² above zero, (slope · x)² below; never negative."""
    return F.leaky_relu(x, slope).square()


def squared_linear(x: Tensor, weight: Tensor, slope: float) -> Tensor:
    """See :func:`tmt.ops.squared_mlp.squared_linear`."""
    return squared_leaky_relu(F.linear(x, weight), slope)
