"""How well a predictor does on a task: overall, by load, and by position."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tmt.model.base import IGNORE, LanguageModel
from tmt.tasks.task import Batch, Prediction, Task

Predictor = Callable[[Tensor, Tensor], Prediction]
"""Tokens and targets, int64 (B, T) each, to a prediction."""

POSITION_BUCKETS = 8
CHUNK = 128
"""Sequences predicted at once."""


@dataclass(frozen=True)
class Cell:
    """Figures of some of the answers."""

    accuracy: float
    nats: float
    answers: int


@dataclass(frozen=True)
class Score:
    """Figures of all answers, and of those of each load and of each stretch of positions."""

    score: float
    """The task's own figure; see :meth:`Task.score`."""
    accuracy: float
    nats: float
    """Mean over the scored tokens."""
    by_load: dict[str, Cell]
    by_position: dict[str, Cell]


def evaluate(task: Task, predict: Predictor, generator: Generator, count: int) -> Score:
    """The score of a predictor on `count` fresh sequences."""
    batch = task.draw(generator, count)
    rows = zip(batch.tokens.split(CHUNK), batch.targets.split(CHUNK), strict=True)
    parts = [predict(tokens, targets) for tokens, targets in rows]
    prediction = Prediction(torch.cat([p.ids for p in parts]), torch.cat([p.nats for p in parts]))
    scored = batch.targets != IGNORE
    right = task.right(batch, prediction)
    nats = prediction.nats[scored].view(-1, task.answer_length).mean(1)
    whole = _cell(right, nats)
    return Score(
        score=task.score(batch, prediction),
        accuracy=whole.accuracy,
        nats=whole.nats,
        by_load=_cells(_of_answers(task, batch, batch.group), right, nats, str),
        by_position=_by_position(task, batch, right, nats),
    )


def model_predictor(model: LanguageModel) -> Predictor:
    """A model in eval mode as a predictor; results are on the CPU."""
    device = next(model.parameters()).device

    @torch.no_grad()
    def predict(tokens: Tensor, targets: Tensor) -> Prediction:
        logits = model(tokens.to(device), return_diagnostics=False).logits.float()
        return Prediction.of(logits.log_softmax(2).cpu(), targets)

    return predict


def _by_position(task: Task, batch: Batch, right: Tensor, nats: Tensor) -> dict[str, Cell]:
    length = batch.tokens.shape[1]
    bucket = torch.arange(length) * POSITION_BUCKETS // length
    first = torch.searchsorted(bucket, torch.arange(POSITION_BUCKETS))

    def name(i: int) -> str:
        end = int(first[i + 1]) if i + 1 < POSITION_BUCKETS else length
        return f"{int(first[i])}-{end - 1}"

    return _cells(_of_answers(task, batch, bucket.expand(batch.tokens.shape)), right, nats, name)


def _of_answers(task: Task, batch: Batch, grid: Tensor) -> Tensor:
    """(N,) the value of grid (B, T) at the first token of each answer."""
    return grid[batch.targets != IGNORE].view(-1, task.answer_length)[:, 0]


def _cells(keys: Tensor, right: Tensor, nats: Tensor, name: Callable[[int], str]) -> dict[str, Cell]:
    """A cell for each key, ascending."""
    return {name(key): _cell(right[keys == key], nats[keys == key]) for key in keys.unique().tolist()}


def _cell(right: Tensor, nats: Tensor) -> Cell:
    return Cell(float(right.float().mean()), float(nats.double().mean()), len(right))
