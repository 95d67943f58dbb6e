"""Training on a task: fresh sequences every step, AdamW, a short warm-up, then a constant rate."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from tmt.config import OptimConfig
from tmt.evaluate.report import finite
from tmt.model import build_model
from tmt.model.base import LanguageModel, ModelOutput
from tmt.model.checks import require, require_positive
from tmt.model.common_config import ModelConfig
from tmt.tasks.models import identity
from tmt.tasks.scoring import evaluate, model_predictor
from tmt.tasks.task import Task

WARMUP_STEPS = 20
GRAD_CLIP = 1.0
EVALUATED = 1024
"""Sequences of the validation and of the test draw."""

Stream = Literal["train", "valid", "test"]

Objective = Callable[[], tuple[Tensor, Callable[[], object]]]
"""The loss of the next batch, and what to do once the step is taken."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training."""

    steps: int
    batch_size: int
    lr: float
    seed: int
    """Of weights and sequences."""
    device: torch.device

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "steps", "batch_size", "lr")
        require(self.seed >= 0, self, "seed", "must not be negative")

    @property
    def identity(self) -> dict[str, Any]:
        """What the outcome depends on."""
        return {"steps": self.steps, "batch_size": self.batch_size, "lr": self.lr, "seed": self.seed}

    def generator(self, stream: Stream) -> Generator:
        """A source of sequences; each stream of each seed has its own."""
        streams = get_args(Stream)
        return Generator().manual_seed(len(streams) * self.seed + streams.index(stream))


@dataclass(frozen=True)
class TaskJob:
    """A model to train on a task and to score."""

    name: str
    task: Task
    arch: str
    config: ModelConfig
    plan: Plan

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this job from others, as in its record."""
        model = identity(self.arch, self.config)
        return {"task": self.name, "sizes": asdict(self.task), **model, **self.plan.identity}

    def run(self) -> dict[str, Any]:
        """Train and score; the record without its identity."""
        plan, task = self.plan, self.task
        torch.manual_seed(plan.seed)
        model = build_model(self.arch, self.config).to(plan.device)
        source = plan.generator("train")

        def draw() -> tuple[Tensor, Tensor]:
            batch = task.draw(source, plan.batch_size)
            return batch.tokens.to(plan.device), batch.targets.to(plan.device)

        figures = fit(model.train(), language_objective(model, draw), plan, f"{self.name} {self.arch}")
        predict = model_predictor(model.eval())
        valid, test = (evaluate(task, predict, plan.generator(s), EVALUATED) for s in ("valid", "test"))
        floor, best = (
            evaluate(task, oracle, plan.generator("test"), EVALUATED).score
            for oracle in (task.counting, task.solution)
        )
        return {
            **model_figures(model, task.length),
            **figures,
            "valid_score": valid.score,
            **asdict(test),
            "score_name": task.score_name,
            "chance": task.chance,
            "floor": floor,
            "solve": best,
            "grouped_by": task.grouped_by,
        }


def fit(module: nn.Module, objective: Objective, plan: Plan, title: str) -> dict[str, Any]:
    """Train the parameters of `module` that want gradients; stops early where the loss is not finite.

    Returns the steps taken, the wall-clock seconds, and whether the training diverged.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    models = [part for part in module.modules() if isinstance(part, LanguageModel)]
    optimizer = AdamW(parameters, lr=plan.lr, weight_decay=0.0, fused=True)
    schedule = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS))
    taken, loss, started = 0, 0.0, time.monotonic()
    bar = tqdm(range(plan.steps), desc=f"{title} lr {plan.lr:g} seed {plan.seed}", disable=None, leave=False)
    for step in bar:
        for model in models:
            model.set_progress(step / plan.steps)
        total, finish = objective()
        loss = float(total.detach())
        if not math.isfinite(loss):
            break
        total.backward()
        clip_grad_norm_(parameters, GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        finish()
        taken += 1
        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
    bar.close()
    seconds = time.monotonic() - started
    return {"steps_taken": taken, "seconds": seconds, "diverged": not math.isfinite(loss)}


def language_objective(model: LanguageModel, draw: Callable[[], Iterable[Tensor]]) -> Objective:
    """The loss of a model on tokens and targets as they are drawn."""

    def objective() -> tuple[Tensor, Callable[[], object]]:
        tokens, targets = draw()
        output = model(tokens, targets=targets)
        return with_penalty(output.loss, output), partial(model.after_step, output.statistics)

    return objective


def with_penalty(loss: Tensor, output: ModelOutput) -> Tensor:
    """The loss plus the objective of the exits, where a configuration has one."""
    return loss if output.penalty is None else loss + OptimConfig.exit_gate_coeff * output.penalty


def model_figures(model: LanguageModel, length: int) -> dict[str, Any]:
    """Size and cost of a model on sequences of `length` tokens."""
    cost = model.flops(length) / length
    return {"params": model.param_count(), "flops_per_token": finite(cost)}
