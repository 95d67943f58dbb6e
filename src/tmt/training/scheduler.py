"""Learning rate and momentum over the course of training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tmt.config import OptimConfig


def rate_factor(share: float, config: OptimConfig) -> float:
    """Factor on every peak rate after `share` of the budget."""
    if config.schedule == "cosine":
        return cosine_warmup(share, config.warmup, config.min_lr_ratio)
    rise = min(1.0, share / config.warmup) if config.warmup else 1.0
    return min(rise, warmdown(share, config.warmdown, config.min_lr_ratio))


def warmdown(share: float, fall: float, min_ratio: float) -> float:
    """Factor that is 1, and falls in a straight line to `min_ratio` over the last `fall` of the budget."""
    left = max(0.0, 1 - share)
    return 1.0 if left >= fall else min_ratio + (1 - min_ratio) * left / fall


def momentum(share: float, config: OptimConfig) -> float:
    """Muon's momentum after `share` of the budget: a straight line up to its final value."""
    if config.momentum_start is None or share >= config.momentum_warmup:
        return config.momentum
    risen = share / config.momentum_warmup
    return config.momentum_start + risen * (config.momentum - config.momentum_start)


def cosine_warmup(share: float, warmup: float, min_ratio: float) -> float:
    """Factor on the peak rate after `share` of the budget: linear rise, then half a cosine to `min_ratio`."""
    if share < warmup:
        return share / warmup
    done = min(1.0, (share - warmup) / max(1e-12, 1 - warmup))
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * done))


def cosine_warmup_scheduler(
    optimizer: Optimizer, warmup_steps: int, total_steps: int, min_lr_ratio: float = 0.1
) -> LambdaLR:
    """Per-step schedule: linear rise over `warmup_steps`, cosine down to `min_lr_ratio` at `total_steps`."""
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must be in [0, total_steps={total_steps})")
    warmup = warmup_steps / total_steps
    return LambdaLR(optimizer, lambda step: cosine_warmup(step / total_steps, warmup, min_lr_ratio))
