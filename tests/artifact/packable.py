"""Tiny runs of every architecture, their matrices just above the size that is kept in half precision."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tiny_models import BYTES, tiny
from tmt.artifact import Packer, PackSettings, calibrate
from tmt.checkpoint import Run
from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from tmt.model import architecture, build_model
from tmt.model.base import LanguageModel

SMALL = 150
"""Vectors are smaller than this, the matrices of width 16 larger."""
VARIANTS = ("transformer", "untied", "toeplitz", "expsum", "triangular", "hyena", "golf", "plain", "forget")
"""The last two are TMT."""


def packable(variant: str) -> LanguageModel:
    """A model in eval mode whose every block does something."""
    torch.manual_seed(0)
    match variant:
        case "untied":
            return tiny("transformer", tie_embeddings=False)
        case "expsum":
            return tiny("toeplitz", kernel="expsum", beyond="formula")
        case "golf":
            sizes = dict(vocab_size=BYTES.vocab_size, d_model=16, n_heads=2, n_layers=5, ffn_dim=24)
            model = build_model("golf", architecture("golf").config(**sizes, rope_dims=4, parallel_from=3))
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter.data, std=0.3)
            return model.eval()
        case _:
            return tiny(variant)


def run_of(model: LanguageModel) -> Run:
    """A run of that model on text nobody has."""
    name = type(model).__name__
    names = {"TMTModel": "tmt", "ToeplitzMixer": "toeplitz", "TriangularMixer": "triangular"}
    config = RunConfig(
        arch=names.get(name, name.lower()),
        preset="nano",
        recipe="modern",
        model=model.config,
        data=DataConfig(tokenizer="bytes"),
        optim=OptimConfig(),
        train=TrainConfig(steps=1, seq_len=32),
    )
    return Run(Path("nowhere"), config, model, BYTES)


def batches(count: int = 2) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets (4, 32), the same every time."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        tokens = torch.randint(0, BYTES.vocab_size, (4, 33), generator=generator)
        yield tokens[:, :-1], tokens[:, 1:]


def settings(**options) -> PackSettings:
    return PackSettings(**{"small": SMALL, "unguided": "half", **options})


def packer(variant: str = "transformer", code_bytes: int = 1000) -> Packer:
    model = packable(variant)
    return Packer(run_of(model), calibrate(model, batches()), code_bytes)
