"""What a synthetic task is: sequences drawn from a generator, the targets that count, and who solves it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tmt.model.base import IGNORE


@dataclass(frozen=True)
class Batch:
    """Sequences of a task; three int64 tensors (B, T)."""

    tokens: Tensor
    targets: Tensor
    """The token to predict at each position, after reading the tokens up to it; −100: not scored."""
    group: Tensor
    """How hard each scored target is, in units of the task's `grouped_by`; 0 where none is scored."""


@dataclass(frozen=True)
class Prediction:
    """What a predictor makes of a batch."""

    ids: Tensor
    """(B, T) int64, the most likely token at each position."""
    nats: Tensor
    """(B, T) float32 negative log-likelihood of each target, 0 where none is scored."""

    @classmethod
    def of(cls, log_probabilities: Tensor, targets: Tensor) -> Self:
        """The prediction that log-probabilities (B, T, V) are for targets (B, T)."""
        nats = F.nll_loss(log_probabilities.mT, targets, reduction="none", ignore_index=IGNORE)
        return cls(log_probabilities.argmax(2), nats)

    @classmethod
    def certain(cls, ids: Tensor, targets: Tensor) -> Self:
        """The prediction of who is sure of ids (B, T), where targets (B, T) come."""
        wrong = (ids != targets) & (targets != IGNORE)
        return cls(ids, torch.where(wrong, torch.inf, 0.0))


@dataclass(frozen=True)
class Task(ABC):
    """A problem with a known answer. The fields of a subclass are its sizes."""

    grouped_by: ClassVar[str]
    """What `Batch.group` counts."""
    score_name: ClassVar[str] = "accuracy"
    """What :meth:`score` is called."""
    default_steps: ClassVar[int] = 5000
    """Training steps unless told otherwise."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens T of every sequence."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The score of who knows the task but has not read the sequence."""

    @property
    def answer_length(self) -> int:
        """Consecutive scored targets of a row that are right or wrong together."""
        return 1

    @abstractmethod
    def draw(self, generator: Generator, count: int) -> Batch:
        """`count` fresh sequences; the same for the same state of the generator."""

    @abstractmethod
    def solve(self, tokens: Tensor) -> Tensor:
        """The best prediction (B, T) at every scored position, from the tokens (B, T) up to it alone."""

    @abstractmethod
    def count(self, tokens: Tensor) -> Tensor:
        """The same of who knows the task and counts what was read up to there, but not in which order."""

    def solution(self, tokens: Tensor, targets: Tensor) -> Prediction:
        """:meth:`solve` as a predictor: what is the most that can be scored."""
        return Prediction.certain(self.solve(tokens), targets)

    def counting(self, tokens: Tensor, targets: Tensor) -> Prediction:
        """:meth:`count` as a predictor: what scores no more has learnt nothing of the order."""
        return Prediction.certain(self.count(tokens), targets)

    def score(self, batch: Batch, prediction: Prediction) -> float:
        """How well the batch is predicted: the share of answers that are right; 1 for :meth:`solve`."""
        return float(self.right(batch, prediction).float().mean())

    def right(self, batch: Batch, prediction: Prediction) -> Tensor:
        """(N,) bool, whether each answer of the batch is right, row by row."""
        scored = batch.targets != IGNORE
        right = prediction.ids[scored] == batch.targets[scored]
        return right.view(-1, self.answer_length).all(1)


def unscored(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and groups (B, T) of a batch in which nothing is scored yet."""
    return torch.full_like(tokens, IGNORE), torch.zeros_like(tokens)


def draw_symbols(generator: Generator, symbols: int, *shape: int) -> Tensor:
    """Independent uniform symbols, int64."""
    return torch.randint(symbols, shape, generator=generator)


def draw_distinct(generator: Generator, symbols: int, count: int, wanted: int) -> Tensor:
    """(count, wanted) int64: distinct symbols in random order, independent between rows."""
    return torch.rand(count, symbols, generator=generator).topk(wanted).indices


def power_of_two_below(counts: Tensor) -> Tensor:
    """The largest power of two that each int64 count reaches; 0 stays 0."""
    exact = torch.frexp(counts.double()).exponent - 1
    return torch.where(counts > 0, 2 ** exact.clamp(min=0).long(), 0)


def counts(tokens: Tensor, vocab_size: int) -> Tensor:
    """(B, T, V) int64: how often each token has come up to each position, that one included."""
    return F.one_hot(tokens, vocab_size).cumsum(1)


def following(tokens: Tensor) -> Tensor:
    """(B, T): the token that followed the latest earlier occurrence of the current one; 0 without one."""
    length = tokens.shape[1]
    position = torch.arange(length, device=tokens.device)
    earlier = (tokens[:, :, None] == tokens[:, None]) & (position[:, None] > position)
    latest = torch.where(earlier, position, -1).amax(2)
    return torch.where(latest >= 0, tokens.gather(1, latest + 1), 0)
