"""When to compute in bfloat16."""

import torch


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to autocast: as told, or where the machine multiplies bfloat16 natively ("auto")."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(probe and probe())
    return False
