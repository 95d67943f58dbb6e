"""When to compute in bfloat16."""

import torch

from tmt import machine


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to autocast: as told, or where the machine multiplies bfloat16 natively ("auto")."""
    return machine.multiplies_bf16(device) if precision == "auto" else precision == "bf16"
