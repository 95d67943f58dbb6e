"""Skip connection that replaces a part of the stream, channel by channel, instead of adding to it."""

import torch
from torch import Tensor, nn


class GatedSkip(nn.Module):
    """``g ⊙ x + (1 − g) ⊙ w ⊙ skip`` with ``g = σ(γ)``; half and half at the start."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.gate = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(…, D) and (…, D) to (…, D), in their type."""
        return torch.lerp(self.weight.to(x.dtype) * skip, x, torch.sigmoid(self.gate).to(x.dtype))
