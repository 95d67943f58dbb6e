"""Softcap of logits (Gemma Team, 2024): ``c·tanh(z / c)`` stays within ±c and is z where z is small."""

import torch
from torch import Tensor

from tmt.ops.precision import at_least_float32


def softcapped(logits: Tensor, cap: float | None) -> Tensor:
    """Logits of any shape within ±cap, in their type; untouched where `cap` is None."""
    if cap is None:
        return logits
    return (cap * torch.tanh(at_least_float32(logits) / cap)).to(logits.dtype)
