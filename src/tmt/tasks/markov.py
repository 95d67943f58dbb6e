"""In-context Markov chains: as close to the Bayes predictor as the past allows."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tmt.model.checks import require
from tmt.tasks.task import Batch, Prediction, Task, counts, draw_symbols, power_of_two_below

PRIOR = 0.5
"""Concentration of the Dirichlet prior of every row of a transition matrix."""


@dataclass(frozen=True)
class Markov(Task):
    """Predict a Markov chain whose random transition matrix is this sequence's own.

    Rows of the matrix are Dirichlet(½), so the Bayes predictor is the count of each transition plus a half
    (Krichevsky and Trofimov, 1981). The score is the part that is closed, in the second half of the
    sequence, of the gap in nats between it and the same counting of symbols without their predecessors.
    """

    states: int = 8
    """States of the chain."""
    length: int = 128
    """Tokens of a sequence."""

    grouped_by: ClassVar[str] = "earlier visits of the state, power of two"
    score_name: ClassVar[str] = "gap closed"

    def __post_init__(self):
        """Validate every field."""
        require(self.states >= 2, self, "states", "must be at least 2")
        require(self.length >= 2, self, "length", "must be at least 2")

    @property
    def vocab_size(self) -> int:
        """The states."""
        return self.states

    @property
    def chance(self) -> float:
        """No part of the gap."""
        return 0.0

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; every next state is a target."""
        states = self._walk(generator, count)
        tokens, targets = states[:, :-1], states[:, 1:]
        visits = counts(tokens, self.states).gather(2, tokens[:, :, None])[:, :, 0] - 1
        return Batch(tokens, targets, power_of_two_below(visits))

    def _walk(self, generator: Generator, count: int) -> Tensor:
        """(count, length + 1) states: every step is a random map of states, and maps compose in parallel."""
        gamma = torch.randn(count, self.states, self.states, generator=generator, dtype=torch.double) ** 2
        edges = gamma.cumsum(2) / gamma.sum(2, keepdim=True)
        steps = torch.rand(count, 1, self.length, generator=generator, dtype=torch.double)
        maps = torch.searchsorted(edges, steps.expand(-1, self.states, -1).contiguous(), right=True)
        maps = maps.clamp(max=self.states - 1).mT
        done = 1
        while done < self.length:
            maps = torch.cat([maps[:, :done], maps[:, done:].gather(2, maps[:, :-done])], 1)
            done *= 2
        first = draw_symbols(generator, self.states, count, 1)
        return torch.cat([first, maps.gather(2, first[:, :, None].expand(-1, self.length, 1))[:, :, 0]], 1)

    def bayes(self, tokens: Tensor) -> Tensor:
        """Log-probabilities (B, T, S) of the next state, given the tokens up to each position."""
        before, after = self._one_hot(tokens[:, :-1]), self._one_hot(tokens[:, 1:])
        transitions = F.pad((before[..., None] * after[..., None, :]).cumsum(1), (0, 0, 0, 0, 1, 0))
        row = tokens[:, :, None, None].expand(-1, -1, 1, self.states)
        return _log_shares(transitions.gather(2, row)[:, :, 0])

    def unigram(self, tokens: Tensor) -> Tensor:
        """The same of who counts states, not transitions."""
        return _log_shares(counts(tokens, self.states))

    def solve(self, tokens: Tensor) -> Tensor:
        """The Bayes predictor's most likely next state."""
        return self.bayes(tokens).argmax(2)

    def count(self, tokens: Tensor) -> Tensor:
        """The state that came most often."""
        return self.unigram(tokens).argmax(2)

    def solution(self, tokens: Tensor, targets: Tensor) -> Prediction:
        """The Bayes predictor."""
        return Prediction.of(self.bayes(tokens), targets)

    def counting(self, tokens: Tensor, targets: Tensor) -> Prediction:
        """:meth:`unigram`, where the gap begins."""
        return Prediction.of(self.unigram(tokens), targets)

    def score(self, batch: Batch, prediction: Prediction) -> float:
        """The part of the gap between :meth:`unigram` and :meth:`bayes` that is closed."""
        late = slice(self.length // 2, None)
        unigram, bayes = (
            Prediction.of(predict(batch.tokens), batch.targets).nats[:, late].double().sum()
            for predict in (self.unigram, self.bayes)
        )
        return float((unigram - prediction.nats[:, late].double().sum()) / (unigram - bayes))

    def _one_hot(self, states: Tensor) -> Tensor:
        return F.one_hot(states, self.states)


def _log_shares(occurrences: Tensor) -> Tensor:
    shares = occurrences + PRIOR
    return (shares / shares.sum(-1, keepdim=True)).log()
