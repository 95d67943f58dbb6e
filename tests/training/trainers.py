"""A trainer of a tiny model on random tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from tmt.model import architecture, build_model
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks
from tmt.training.log import MetricsLog, Progress
from tmt.training.loop import Trainer

VOCAB = 40
SIZES: dict[str, dict[str, Any]] = {
    "transformer": dict(d_model=32, n_heads=2, n_layers=2, ffn_dim=32, dropout=0.0),
    "hyena": dict(d_model=32, n_heads=2, n_layers=2, ffn_dim=32, kernel_length=64, dropout=0.0),
    "triangular": dict(d_model=32, n_heads=2, n_layers=2, ffn_dim=32, kernel_length=64, dropout=0.0),
    "toeplitz": dict(d_model=32, n_heads=2, n_layers=2, ffn_dim=32, kernel_length=64, dropout=0.0),
    "golf": dict(d_model=32, n_heads=2, n_layers=4, ffn_dim=32, rope_dims=4),
    "tmt": dict(
        d_model=32, n_heads=2, n_layers=4, ffn_stream_dim=16, dropout=0.0, graph_k=2, local_window=3,
        routing_dim=16, memory_anchors=4, entry_layers=1, target_depth=0.7,
    ),
}  # fmt: skip


def random_tokens(length: int = 2000) -> np.ndarray:
    """Tokens with something to learn: every second one repeats the one before it."""
    return np.random.default_rng(0).integers(VOCAB, size=length // 2).repeat(2)


def make_trainer(
    folder: Path,
    arch: str = "transformer",
    *,
    model: dict[str, Any] | None = None,
    optim: dict[str, Any] | None = None,
    validate: Callable[[LanguageModel], float] = lambda model: 1.0,
    **train: Any,
) -> Trainer:
    """Ready for its first step; `train`, `optim` and `model` hold what differs from the defaults."""
    model_config = architecture(arch).config(vocab_size=VOCAB, **{**SIZES[arch], **(model or {})})
    config = RunConfig(
        arch=arch,
        preset="nano",
        recipe="modern",
        model=model_config,
        data=DataConfig(),
        optim=OptimConfig(**(optim or {})),
        train=TrainConfig(**{"batch_size": 4, "seq_len": 16, "precision": "fp32", "log_every": 1, **train}),
    )
    torch.manual_seed(config.train.seed)
    built = build_model(arch, model_config)
    return Trainer(config, built, random_tokens(), folder, Ranks(torch.device("cpu")), validate)


def run(trainer: Trainer, tensorboard: bool = False) -> list[dict[str, Any]]:
    """Train to the end of the budget; the lines of metrics.jsonl."""
    log = MetricsLog(trainer.folder, trainer.step, tensorboard)
    try:
        assert trainer.run(Progress(False, trainer.share), log)
    finally:
        log.close()
    return metrics(trainer.folder)


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
