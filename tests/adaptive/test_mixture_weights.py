"""Learnt weights of an expert: the Bayes mixture over a grid, and its promise for every stream."""

import math

import pytest
import torch
from torch import Tensor
from walking import learn_together

from tmt.adaptive.mixture import GRID, LARGEST, MixtureWeights, log_prior
from tmt.errors import InputError
from tmt.training.distributed import Ranks

RANKS = Ranks(torch.device("cpu"))


def hits(count: int, rate: float) -> tuple[Tensor, Tensor]:
    """What base and expert give to targets of which the expert, sure of itself, is right about a share."""
    hit = torch.rand(count) < rate
    return torch.where(hit, 0.1, 0.4), hit.float()


def losses(p: Tensor, q: Tensor) -> Tensor:
    """Nats of every weight of the grid (K,)."""
    return -((1 - GRID) * p.double()[:, None] + GRID * q.double()[:, None]).log().sum(0)


@pytest.mark.parametrize("strength", [4.0, 20.0])
def test_weights_begin_at_their_start(strength: float):
    start = torch.tensor([0.005, 0.02, 0.06, 0.3, 0.5])
    weights = MixtureWeights(start, strength)
    assert torch.allclose(weights.weights(torch.arange(5)), start, rtol=0.03)
    assert GRID[0] == 0
    assert GRID[-1] == LARGEST


def test_weights_follow_observations_once_learnt_and_not_before():
    weights, bucket = MixtureWeights(torch.full((3,), 0.1), 5.0), torch.tensor([0, 1, 2])
    before = weights.weights(bucket)
    weights.observe(torch.ones(50, dtype=torch.long), torch.full((50,), 0.1), torch.ones(50))
    assert torch.equal(weights.weights(bucket), before)
    weights.learn(RANKS)
    after = weights.weights(bucket)
    assert after[1] > 0.8
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    weights.learn(RANKS)
    assert torch.equal(weights.weights(bucket), after), "an observation counted twice"


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 0.95])
@pytest.mark.parametrize("start", [0.02, 0.5])
def test_weights_converge_to_the_best_in_hindsight(start: float, rate: float):
    weights, bucket = MixtureWeights(torch.tensor([start]), 10.0), torch.zeros(5000, dtype=torch.long)
    p, q = hits(5000, rate)
    weights.observe(bucket, p, q)
    weights.learn(RANKS)
    best = float(GRID[losses(p, q).argmin()])
    assert float(weights.weights(bucket[:1])) == pytest.approx(best, abs=0.05)


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.3, 0.9])
@pytest.mark.parametrize(("start", "strength"), [(0.02, 20.0), (0.3, 2.0)])
def test_learning_after_each_target_loses_little_to_any_weight(start: float, strength: float, rate: float):
    weights, bucket = MixtureWeights(torch.tensor([start]), strength), torch.zeros(1, dtype=torch.long)
    p, q = hits(300, rate)
    total = 0.0
    for row in range(300):
        w = float(weights.weights(bucket))
        total -= math.log((1 - w) * float(p[row]) + w * float(q[row]))
        weights.observe(bucket, p[row : row + 1], q[row : row + 1])
        weights.learn(RANKS)
    assert (total <= losses(p, q) - log_prior(torch.tensor([start]), strength) + 1e-3).all()
    if strength == 2.0:
        assert total <= float(losses(p, q).min()) + math.log(len(GRID)) + 1


def test_two_ranks_with_half_the_observations_each_are_one():
    start, bucket = torch.full((4,), 0.05), torch.randint(4, (40,))
    p, q = hits(40, 0.4)
    one, *two = (MixtureWeights(start, 5.0) for _ in range(3))
    one.observe(bucket, p, q)
    one.learn(RANKS)
    for rank, part in zip(two, (slice(0, 13), slice(13, 40)), strict=True):
        rank.observe(bucket[part], p[part], q[part])
    learn_together(two, lambda rank, ranks: rank.learn(ranks))
    for rank in two:
        assert torch.allclose(rank.weights(bucket), one.weights(bucket), rtol=1e-6)
    assert torch.equal(two[0].state(), two[1].state())


def test_a_target_that_nobody_expected_rules_out_no_weight():
    weights, bucket = MixtureWeights(torch.tensor([0.1]), 5.0), torch.zeros(1, dtype=torch.long)
    before = weights.weights(bucket)
    weights.observe(bucket, torch.zeros(1), torch.zeros(1))
    weights.learn(RANKS)
    assert torch.allclose(weights.weights(bucket), before)
    weights.observe(bucket, torch.zeros(1), torch.ones(1))
    weights.learn(RANKS)
    assert float(weights.weights(bucket)) > float(before)


def test_restored_weights_are_those_of_the_state():
    weights, bucket = MixtureWeights(torch.full((2,), 0.1), 5.0), torch.tensor([0, 1, 1])
    weights.observe(bucket, *hits(3, 0.5))
    weights.learn(RANKS)
    state, known = weights.state(), weights.weights(bucket)
    weights.observe(bucket, *hits(3, 0.5))
    weights.learn(RANKS)
    weights.observe(bucket, *hits(3, 0.5))
    weights.restore(state)
    weights.learn(RANKS)
    assert torch.equal(weights.weights(bucket), known)


@pytest.mark.parametrize(("start", "strength"), [(0.0, 5.0), (LARGEST, 5.0), (math.nan, 5.0), (0.1, 0.0)])
def test_impossible_priors_are_refused(start: float, strength: float):
    with pytest.raises(InputError, match=r"must start in \(0, 0\.95\)"):
        MixtureWeights(torch.tensor([0.1, start]), strength)
