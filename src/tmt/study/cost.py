"""What a study would cost: its runs, tokens and FLOPs, and hours by its records or by timing a few steps."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tmt.config import RunConfig, build
from tmt.model import build_model
from tmt.options.study_file import Evaluation, Job, Study
from tmt.options.train import TrainOptions, resolve
from tmt.study.job import Places
from tmt.tokens import TokenSplits
from tmt.training.distributed import Ranks
from tmt.training.step import Stepper

WARM, TIMED = 1, 2
"""Steps before the clock and on it."""
HOUR = 3600.0


@dataclass
class Cost:
    """Of one run with one seed."""

    tokens: float
    """Trained on."""
    flops: float
    """Of training."""
    scored_flops: float
    """Of the scores by `tmt eval`."""
    seconds: float
    """Of one core, training and scores together; training alone where FLOPs are not counted (NaN)."""


def show_cost(study: Study, places: Places, slots: int) -> None:
    """Print what is left to do, and what it would cost in one thread a run."""
    left = [job for job in study.jobs if not places.record(job).done(job)]
    table = Table("run", "seeds left", "tokens", "FLOPs", "core hours each", box=SIMPLE_HEAD)
    total = 0.0
    for name in dict.fromkeys(job.name for job in left):
        jobs = [job for job in left if job.name == name]
        cost = cost_of(jobs[0], _known_seconds(study, places, name))
        total += cost.seconds * len(jobs)
        cells = [f"{cost.tokens:,.0f}", f"{cost.flops + cost.scored_flops:.3g}", f"{cost.seconds / HOUR:.3f}"]
        table.add_row(name, str(len(jobs)), *cells)
    Console().print(table)
    print(
        f"{len(left)} of {len(study.jobs)} runs are left: {total / HOUR:.2f} core hours, "
        f"{total / HOUR / slots:.2f} hours in {slots} slots; adapted scores and packing are not counted"
    )


def cost_of(job: Job, known_seconds: float | None = None) -> Cost:
    """The cost of a run; training takes `known_seconds`, or what a few timed steps make likely."""
    source = job.config.data.open()
    tokenizer = source.tokenizer(job.config.data.tokenizer)
    splits = source.tokens(tokenizer)
    config = resolve(build(TrainOptions, job.options, "option of tmt train"), tokenizer.vocab_size)
    train = config.train
    stepper = _stepper(config)
    flops, seconds = _step(stepper)
    steps = {
        "steps": train.amount,
        "tokens": train.amount / train.tokens_per_step,
        "flops": train.amount / flops,
        "minutes": train.amount * 60 / seconds,
        "core_minutes": train.amount * 60 / seconds,
    }[train.budget]
    scored = sum(_scored_flops(stepper, evaluation, splits, config) for evaluation in job.evaluations)
    spent = steps * seconds if known_seconds is None else known_seconds
    scoring = scored / flops * seconds
    seconds = spent + (0.0 if math.isnan(scoring) else scoring)
    return Cost(steps * train.tokens_per_step, steps * flops, scored, seconds)


def _stepper(config: RunConfig) -> Stepper:
    """On random tokens, in one thread."""
    torch.set_num_threads(1)
    length = 2 * max(config.train.seq_len, config.train.tokens_per_step) + 1
    stream: Any = np.random.default_rng(0).integers(config.model.vocab_size, size=length)
    return Stepper(config, build_model(config.arch, config.model), stream, Ranks(torch.device("cpu")))


def _step(stepper: Stepper) -> tuple[float, float]:
    """FLOPs (NaN: not counted) and seconds of a processor for one step."""
    for _ in range(WARM):
        stepper.take_step()
    flops, started = stepper.flops, time.process_time()
    for _ in range(TIMED):
        stepper.take_step()
    counted = (stepper.flops - flops) / TIMED or math.nan
    return counted, (time.process_time() - started) / TIMED


def _scored_flops(stepper: Stepper, evaluation: Evaluation, splits: TokenSplits, config: RunConfig) -> float:
    """Of one evaluation; a score by `tmt eval`, every layer run."""
    if evaluation.command != "eval":
        return 0.0
    options = evaluation.options
    context = options.get("context") or config.train.seq_len
    tokens = len(getattr(splits, options.get("split", "test")))
    windows = min(tokens, options.get("limit") or tokens) / (options.get("stride") or context)
    return windows * stepper.model.flops(context)


def _known_seconds(study: Study, places: Places, name: str) -> float | None:
    """Processor time of training by the records of the run; None without any."""
    records = [places.record(job) for job in study.jobs if job.name == name]
    seconds = [record.training["core_seconds"] for record in records if record.training]
    return sum(seconds) / len(seconds) if seconds else None
