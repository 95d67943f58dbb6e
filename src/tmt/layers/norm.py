"""Root-mean-square normalisation (Zhang & Sennrich, 2019)."""

import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` whose gain follows the input's type, so that it stays fused under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, D), in the type of `x`."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
