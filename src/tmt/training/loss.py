"""The published loss: cross-entropy plus the entropy of the exit gates."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers.exit_gate import binary_entropy
from tmt.model.base import IGNORE


def compute_loss(
    logits: Tensor,
    targets: Tensor,
    confidences: list[Tensor],
    exit_gate_coeff: float = 0.1,
    ignore_index: int = IGNORE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of logits (B, S, V) on next-token targets (B, S).

    Args:
        logits: unnormalised log-probabilities.
        targets: int64; `ignore_index` entries do not count.
        confidences: (B, S) exit confidences in (0, 1), one tensor a layer; may be empty.
        exit_gate_coeff: weight of the mean binary entropy of the confidences.
        ignore_index: the target value that is not scored.

    Returns:
        (total, cross-entropy in nats, gate entropy in nats); total = cross-entropy + coefficient · entropy.
    """
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"logits {tuple(logits.shape)} do not fit targets {tuple(targets.shape)}")
    ce = F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=ignore_index)
    gate = binary_entropy(torch.stack(confidences)) if confidences else ce.new_zeros(())
    return ce + exit_gate_coeff * gate, ce, gate
