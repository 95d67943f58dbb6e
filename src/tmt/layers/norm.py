"""Root-mean-square (Zhang & Sennrich, 2019) and layer normalisation (Ba et al., 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tmt.layers.rotary import Rotation, rotate
from tmt.ops import norm


class RMSNorm(nn.RMSNorm):
    """`torch.nn.RMSNorm` that stays in the input's type under autocast, and can rotate what it normalised."""

    eps: float  # pyrefly: ignore[bad-override]

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__(width, eps)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """(…, D) to (…, D), in the type of `x`; with a rotation (n, H, D) heads at its n positions."""
        if norm.available(x):
            return norm.rms_norm(x, self.weight, self.eps, rotation)
        x = F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)
        return x if rotation is None else rotate(x, rotation)


class PlainRMSNorm(nn.Module):
    """RMS normalisation without a learned gain, times a constant."""

    def __init__(self, eps: float, scale: float = 1.0):
        super().__init__()
        self.eps, self.scale = eps, scale

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, D) at a root mean square of `scale`, in the type of `x`."""
        width = x.shape[-1]
        if norm.available(x):
            return norm.rms_norm(x, x.new_full((width,), self.scale), self.eps)
        return self.scale * F.rms_norm(x, (width,), eps=self.eps)


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` that stays in the input's type under autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, D) to (…, D), in the type of the input."""
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


def unit_rows(x: Tensor) -> Tensor:
    """Rows (…, R) divided by their length; zero stays zero. Of the two only the result is kept."""
    return _UnitRows.apply(x)


class _UnitRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        width, length = x.shape[-1], torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        if norm.available(x):
            y = norm.rms_norm(x, x.new_full((width,), width**-0.5), eps=1e-24)
        else:
            y = F.normalize(x, dim=-1)
        ctx.save_for_backward(y, length)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        y, length = ctx.saved_tensors
        return (grad - y * (y * grad).sum(-1, keepdim=True)) / length.clamp(min=1e-12)
