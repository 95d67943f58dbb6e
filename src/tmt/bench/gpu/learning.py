"""Some minutes of training on the embedded corpus: what a model learns on this card by the clock."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tmt.bench.models import SEED
from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from tmt.evaluate import score
from tmt.model.base import LanguageModel
from tmt.model.registry import architecture, build_model
from tmt.recipes import RECIPES
from tmt.training.distributed import Ranks
from tmt.training.log import Progress
from tmt.training.loop import Trainer


@dataclass(frozen=True)
class Course:
    """What is trained on what."""

    preset: str
    tokenizer: str
    batch_size: int
    seq_len: int
    scored: int
    """Tokens of the validation split."""


FULL = Course("small", "bpe:4096", batch_size=64, seq_len=512, scored=2**18)
QUICK = Course("nano", "bytes", batch_size=2, seq_len=32, scored=256)


def rows(arch: str, device: torch.device, minutes: float, course: Course) -> Iterator[dict[str, Any]]:
    """One row: the score after so many minutes of training."""
    source = DataConfig().open()
    tokenizer = source.tokenizer(course.tokenizer)
    splits, config = source.tokens(tokenizer), _config(arch, tokenizer.vocab_size, minutes, course)

    def validate(model: LanguageModel) -> float:
        sizes = dict(context=course.seq_len, stride=course.seq_len, limit=course.scored)
        return score(model, splits.valid, tokenizer, progress=False, **sizes).bpb

    torch.manual_seed(SEED)
    model = build_model(arch, config.model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, model, splits.train, Path(folder), Ranks(device), validate)
        trainer.run(Progress(False, 0.0), None)
    tokens = trainer.step * course.batch_size * course.seq_len
    yield {
        "arch": arch,
        "preset": course.preset,
        "parameters": model.param_count(),
        "minutes": trainer.elapsed / 60,
        "steps": trainer.step,
        "tokens_per_s": tokens / trainer.elapsed,
        "valid_bits_per_byte": validate(trainer.evaluated_model),
        "peak_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def _config(arch: str, vocab_size: int, minutes: float, course: Course) -> RunConfig:
    """The recipe that suits the architecture."""
    name = "golf" if arch == "golf" else "modern"
    recipe = RECIPES[name]
    train = dict(batch_size=course.batch_size, seq_len=course.seq_len, seed=SEED, save_every=math.inf)
    return RunConfig(
        arch=arch,
        preset=course.preset,
        recipe=name,
        model=architecture(arch).configure(course.preset, {**recipe["model"], "vocab_size": vocab_size}),
        data=DataConfig(tokenizer=course.tokenizer),
        optim=OptimConfig(**recipe["optim"]),
        train=TrainConfig(minutes=minutes, **train, **recipe["train"]),
    )
