"""Two residual streams side by side: attention reads one, the MLP the other, both write to both."""

import torch
from torch import Tensor, nn


class ResidualLanes(nn.Module):
    """For each layer the shares of both lanes that remain, and those of both updates that enter them.

    The weights stay in their own type whatever that of the lanes.
    """

    def __init__(self, n_layers: int, retention: float):
        """`retention` is what remains of a lane at the start; updates enter both lanes whole."""
        super().__init__()
        self.retention = nn.Parameter(torch.full((n_layers, 2), retention))
        """By layer and lane, the attention's first."""
        self.exchange = nn.Parameter(torch.ones(n_layers, 2, 2))
        """By layer, update (attention, MLP) and lane."""

    def forward(
        self, layer: int, lanes: tuple[Tensor, Tensor], a: Tensor, m: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The lanes (…, D) after the updates `a` of the attention and `m` of the MLP."""
        keep, enter = self.retention[layer], self.exchange[layer]
        first, second = (keep[i] * lane + enter[0, i] * a + enter[1, i] * m for i, lane in enumerate(lanes))
        return first, second
