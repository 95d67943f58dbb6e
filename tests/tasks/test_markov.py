"""In-context chains: the walk, and the predictors that bound the score."""

from itertools import pairwise

import pytest
import torch
from oracles import seeded

from tmt.tasks import Prediction
from tmt.tasks.markov import Markov
from tmt.tasks.scoring import evaluate


def test_bayes_counts_the_transitions_of_the_past():
    task = Markov(states=3, length=12)
    batch = task.draw(seeded(), 5)
    predicted, unigram = task.bayes(batch.tokens).exp(), task.unigram(batch.tokens).exp()
    for row, states in enumerate(batch.tokens.tolist()):
        for t in range(12):
            steps = list(pairwise(states[: t + 1]))
            for after in range(3):
                visits = states[:t].count(states[t])
                expected = (steps.count((states[t], after)) + 0.5) / (visits + 1.5)
                assert float(predicted[row, t, after]) == pytest.approx(expected, rel=1e-5)
                share = (states[: t + 1].count(after) + 0.5) / (t + 2.5)
                assert float(unigram[row, t, after]) == pytest.approx(share, rel=1e-5)


def test_bayes_beats_the_unigram_and_more_so_later():
    task = Markov()
    batch = task.draw(seeded(), 300)
    gain = Prediction.of(task.unigram(batch.tokens), batch.targets).nats
    gain = gain - Prediction.of(task.bayes(batch.tokens), batch.targets).nats
    early, late = gain[:, :16].mean(), gain[:, 64:].mean()
    assert late > 0.3
    assert late > early + 0.1


def test_the_unigram_closes_no_part_of_the_gap_and_a_sharper_guess_less():
    task = Markov(states=4, length=40)
    unigram = evaluate(task, lambda x, y: Prediction.of(task.unigram(x), y), seeded(), 100)
    assert unigram.score == pytest.approx(task.chance, abs=1e-6)
    bayes = evaluate(task, task.solution, seeded(), 100)
    assert bayes.nats < unigram.nats
    assert bayes.accuracy > unigram.accuracy

    def sharp(tokens: torch.Tensor, targets: torch.Tensor) -> Prediction:
        return Prediction.of((3 * task.unigram(tokens)).log_softmax(2), targets)

    assert evaluate(task, sharp, seeded(), 100).score < 0


def test_a_walk_follows_one_matrix_from_dirichlet_rows():
    """Transition frequencies of long walks have the mean and variance of a symmetric Dirichlet(½)."""
    task = Markov(states=2, length=4000)
    states = task.draw(seeded(), 400).tokens
    ones = torch.stack([
        (((states[:, :-1] == s) & (states[:, 1:] == 1)).sum(1) + 0.5) / ((states[:, :-1] == s).sum(1) + 1)
        for s in (0, 1)
    ])  # fmt: skip
    halves = states[:, 1:].view(400, -1)[:, :1990], states[:, 1:].view(400, -1)[:, 2000:3990]
    assert abs(float(ones.mean()) - 0.5) < 0.05
    assert abs(float(ones.var()) - 0.125) < 0.02
    assert float((halves[0].double().mean(1) - halves[1].double().mean(1)).abs().median()) < 0.05
