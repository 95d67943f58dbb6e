"""A Qwen3 folder of `transformers` as a run folder of the dense baseline."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from tmt.errors import InputError, reason
from tmt.model.transformer_config import TransformerConfig
from tmt.qwen3.names import from_shape, weight_names
from tmt.qwen3.writing import OURS

SHAPE = "config.json"


def read_qwen3(path: Path, folder: Path) -> None:
    """Fill a run folder with what a Qwen3 folder holds; one that came from a run gets its configuration back.

    Raises:
        InputError: it is damaged or incomplete, or no dense baseline has that shape.
    """
    model, ours = from_shape(_shape(path)), path / OURS
    if (ours / "config.yaml").is_file():
        for file in ours.iterdir():
            shutil.copyfile(file, folder / file.name)
    else:
        _config(model).save(folder)
        if not (path / "tokenizer.json").is_file():
            raise InputError(f"{path} has no tokenizer.json")
        shutil.copyfile(path / "tokenizer.json", folder / "tokenizer.json")
    weights = {}
    try:
        for file in sorted(path.glob("*.safetensors")):
            weights |= load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the weights in {path}: {reason(error)}") from error
    names = weight_names(model)
    missing = [theirs for theirs in names.values() if theirs not in weights]
    if missing:
        raise InputError(f"weight {missing[0]} is missing from the files in {path}")
    save_file({ours: weights[theirs] for ours, theirs in names.items()}, folder / "model.safetensors")


def _config(model: TransformerConfig) -> RunConfig:
    """Of a model that no run of ours made: what a run would have by default."""
    return RunConfig(
        arch="transformer",
        preset="nano",
        recipe="modern",
        model=model,
        data=DataConfig(),
        optim=OptimConfig(),
        train=TrainConfig(steps=1, seq_len=min(256, model.max_seq_len)),
    )


def _shape(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / SHAPE).read_text(encoding="utf-8"))
        kind = content.get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path / SHAPE} is damaged: {reason(error)}") from error
    if kind != "qwen3":
        raise InputError(f"{path} holds a {kind} of transformers; only a Qwen3 can be the dense baseline")
    return content
