"""The model that a task is given to: small, of comparable size in every architecture."""

from dataclasses import asdict, replace
from typing import Any

import torch

from tmt.config import build
from tmt.errors import InputError
from tmt.model import architecture, build_model
from tmt.model.checks import require_effect
from tmt.model.common_config import ModelConfig

FEED_FORWARD = ("ffn_dim", "ffn_stream_dim")
"""Fields that set the width of the feed-forward layers, whichever a configuration has."""
EMBEDDING_STD = 0.2
"""Models this small do not find lookups in a few hundred steps from embeddings of the usual 0.02."""


def identity(arch: str, config: ModelConfig) -> dict[str, Any]:
    """What tells a model from others in a record; of the user's own code its digest too."""
    code = architecture(arch).code
    return {"arch": arch, "model": asdict(config)} | ({} if code is None else {"architecture_sha256": code})


def configure(
    arch: str, preset: str | None, overrides: dict[str, Any], *, vocab_size: int, length: int, d_model: int
) -> ModelConfig:
    """The configuration of an architecture for sequences of `length` tokens, without dropout or exits.

    Embeddings start at `EMBEDDING_STD`, unless an override says otherwise or `init=kaiming` makes them.

    Args:
        arch: name of the architecture.
        preset: a named size; None for two layers of four heads and width `d_model`, with feed-forward
            layers of the width that gives a block 12·d_model² parameters, a dense transformer's.
        overrides: model fields, above all else.
        vocab_size: the task's.
        length: the task's.
        d_model: width unless a preset or an override sets it.

    Raises:
        InputError: a name or a value is not of that architecture.
    """
    if "vocab_size" in overrides:
        raise InputError("model.vocab_size comes from the task; choose other --size values instead")
    entry = architecture(arch)
    start = asdict(entry.configure(preset or "nano", {}))
    values: dict[str, Any] = dict(
        vocab_size=vocab_size, max_seq_len=length, kernel_length=length, dropout=0.0, exit_objective="none"
    )
    if overrides.get("init") != "kaiming":
        values["embedding_std"] = EMBEDDING_STD
    if preset is None:
        values |= dict(d_model=d_model, n_layers=2, n_heads=4)
    own = {name: value for name, value in values.items() if name in start}
    config = build(entry.config, {**start, **own, **overrides}, f"{arch} model")
    require_effect(config, overrides, "model")
    free = [name for name in FEED_FORWARD if name in start.keys() - overrides]
    return _fitted(arch, config, free[0]) if preset is None and free else config


def _fitted(arch: str, config: ModelConfig, field: str) -> ModelConfig:
    """The same with the feed-forward width, at least d_model, that makes blocks of the usual size."""
    width = config.d_model
    narrow, wide = (_block_parameters(arch, _with(config, field, w)) for w in (width, 2 * width))
    missing = 12 * width**2 * config.n_layers - narrow
    return _with(config, field, width + max(0, round(missing * width / (wide - narrow))))


def _with(config: ModelConfig, field: str, value: int) -> ModelConfig:
    changes: dict[str, Any] = {field: value}
    return replace(config, **changes)


def _block_parameters(arch: str, config: ModelConfig) -> int:
    with torch.device("meta"):
        model = build_model(arch, config)
    return sum(p.numel() for name, p in model.named_parameters() if name.startswith("blocks."))
