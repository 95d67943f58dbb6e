"""The named recipes: what each sets of optimisers, model and course of training."""

from typing import Any

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "modern": {"optim": {}, "model": {"dropout": 0.0}, "train": {}},
    "paper": {
        "optim": dict(
            optimizer="adamw", lr=3e-4, adamw_lr=3e-4, min_lr_ratio=0.1, ema_decay=0.0, weight_decay=0.1
        ),
        "model": {"dropout": 0.1},
        "train": {},
    },
    "golf": {
        "optim": dict(
            lr=0.022, adamw_lr=0.03, small_lr=0.02, weight_decay=0.095, small_decay=0.02, grad_clip=0.3,
            momentum=0.97, momentum_start=0.92, momentum_warmup=0.326, equal_rows=True,
            schedule="warmdown", warmup=0.0, min_lr_ratio=0.0, ema_decay=0.997, ema_ramp=True,
        ),
        "model": {"dropout": 0.0},
        "train": {"priming": 2},
    },
}  # fmt: skip
"""What a recipe sets, below the flags and overrides: "paper" is the published one of TMT, "modern" ours,
"golf" that of the parameter-golf records."""
