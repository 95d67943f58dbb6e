"""One step of training, with the optimisers and everything else that the trainer does in it."""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, cast

import numpy as np

from tmt.bench import llama
from tmt.bench.models import DEPTH, SEED, build, has_exits, matches
from tmt.bench.series import Pair, Precision, Series, Settings
from tmt.config import DataConfig, OptimConfig, RunConfig, TrainConfig
from tmt.model.base import LanguageModel
from tmt.tokens import TokenStream
from tmt.training.distributed import Ranks
from tmt.training.loop import Trainer

BATCHES = 8
"""Batches of random tokens that training goes round."""
STEPS = 10**6
"""A budget that no measurement reaches: the learning rate is still warming up."""


def series(settings: Settings) -> Iterator[Series]:
    """Every match with exits off and, where there are exits, at half depth."""
    for match in matches(settings):
        for depth in (None, DEPTH) if has_exits(match.arch) else (None,):
            for dtype in settings.dtypes:
                yield Series(
                    name=match.arch if depth is None else f"{match.arch} at depth {depth:g}",
                    impl=match.impl(dtype, settings.device),
                    peer=match.peer,
                    direction="train",
                    dtype=dtype,
                    at=partial(_pair, match.arch, match.peer, depth, dtype, settings),
                )


def _pair(
    arch: str, peer: str, depth: float | None, dtype: Precision, settings: Settings, length: int
) -> Pair:
    """Against a foreign model both are trained by AdamW alone: Muon knows our parameters by name.

    The models are made for this length, which some have parameters for. A backward pass counts as two
    forward ones; what tokens that leave early save is not known beforehand.
    """
    optimizer = "adamw" if peer == llama.NAME else "muon"
    sizes = replace(settings, lengths=(length,))
    models = (build(arch, sizes, depth=depth), build(peer, sizes))
    calls = (trainer(model, optimizer, dtype, settings, length).take_step for model in models)
    facts = {"preset": settings.preset, "optimizer": optimizer}
    flops = 3 * settings.batch * models[0].flops(length)
    counted = None if depth is not None or math.isnan(flops) else flops
    return Pair(*calls, tokens=settings.batch * length, flops=counted, facts=facts)


def trainer(
    model: LanguageModel,
    optimizer: Literal["muon", "adamw"],
    dtype: Precision,
    settings: Settings,
    length: int,
) -> Trainer:
    """A trainer of the model on random tokens, ready for its first step."""
    config = RunConfig(
        arch=type(model).__name__,
        preset=settings.preset,
        recipe="modern",
        model=model.config,
        data=DataConfig(source="random"),
        optim=OptimConfig(optimizer=optimizer),
        train=TrainConfig(steps=STEPS, batch_size=settings.batch, seq_len=length, seed=SEED, precision=dtype),
    )
    size = BATCHES * settings.batch * length + 1
    stream = np.random.default_rng(SEED).integers(model.config.vocab_size, size=size)
    folder = Path(tempfile.gettempdir()) / "tmt-bench"
    return Trainer(
        config, model, cast("TokenStream", stream), folder, Ranks(settings.device), validate=lambda model: 0.0
    )
