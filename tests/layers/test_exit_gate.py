"""The rules by which tokens leave."""

import pytest
import torch

from tmt.layers.exit_gate import ExitGate, binary_entropy, depth_penalty


def gate(objective: str = "budget", threshold: float | None = 0.5, kind: str = "learned") -> ExitGate:
    made = ExitGate(6, 1e-5, objective, kind, threshold)
    torch.nn.init.normal_(made.score.weight)
    return made


def test_a_token_leaves_when_its_confidence_exceeds_the_threshold():
    decision = gate()(torch.randn(50, 6), torch.arange(50), None)
    assert torch.equal(decision.stay, decision.confidence <= 0.5)
    assert 0 < decision.stay.sum() < 50
    assert decision.boundary is None


@pytest.mark.parametrize("keep", [0, 1, 7, 49, 50, 80])
def test_the_least_confident_stay_where_a_share_is_imposed(keep: int):
    decision = gate(threshold=None)(torch.randn(50, 6), torch.arange(50), keep)
    assert decision.stay.sum() == min(keep, 50)
    stayers, leavers = decision.confidence[decision.stay], decision.confidence[~decision.stay]
    assert all(c <= decision.boundary for c in stayers)
    assert all(c >= decision.boundary for c in leavers)


def test_the_least_confident_of_every_sequence_stay():
    decision = gate(threshold=None)(torch.randn(60, 6), torch.arange(60), 7, 3)
    assert decision.each == 7
    assert torch.equal(decision.kept, decision.stay.nonzero()[:, 0])
    for stay, confidence in zip(decision.stay.view(3, 20), decision.confidence.view(3, 20), strict=True):
        assert stay.sum() == 7
        assert confidence[stay].max() <= confidence[~stay].min()


def test_the_first_come_stay_among_equals():
    decision = gate(threshold=None)(torch.ones(9, 6), torch.arange(9), 4)
    assert decision.stay.nonzero()[:, 0].tolist() == [0, 1, 2, 3]


def test_no_token_decides_nothing():
    for keep in (None, 0, 3):
        decision = gate(threshold=None)(torch.randn(0, 6), torch.arange(0), keep)
        assert decision.stay.shape == (0,)


def test_the_gain_is_one_at_even_odds():
    decision = gate()(torch.randn(50, 6), torch.arange(50), None)
    torch.testing.assert_close(decision.gain, 2 * (1 - decision.confidence))
    assert gate("entropy")(torch.randn(5, 6), torch.arange(5), None).gain is None
    assert gate(kind="random")(torch.randn(5, 6), torch.arange(5), None).gain is None


def test_a_learned_threshold_passes_its_gradient_straight_through():
    made = gate("learned")
    decision = made(torch.randn(50, 6), torch.arange(50), None)
    torch.testing.assert_close(decision.gain.detach(), torch.ones(50))
    decision.gain.sum().backward()
    assert made.threshold.grad > 0
    assert torch.equal(decision.soft_stay > 0.5, decision.confidence < made.threshold)


def test_the_threshold_takes_the_first_boundary_and_follows_the_rest():
    made = gate(threshold=None)
    made.follow(torch.tensor(0.4))
    assert made.threshold == pytest.approx(0.4)
    made.follow(torch.tensor(0.6))
    assert made.threshold == pytest.approx(0.4 + 0.05 * 0.2)
    fixed = gate()
    fixed.follow(torch.tensor(0.9))
    assert fixed.threshold == 0.5


def test_the_entropy_is_greatest_at_even_odds_and_finite_at_certainty():
    assert binary_entropy(torch.tensor([0.5])) == pytest.approx(0.6931, abs=1e-4)
    sure = torch.tensor([0.0, 1.0], requires_grad=True)
    binary_entropy(sure).backward()
    assert binary_entropy(sure) < 1e-4
    assert torch.isfinite(sure.grad).all()
    low = torch.tensor([0.2, 0.8], requires_grad=True)
    binary_entropy(low).backward()
    assert low.grad[0] > 0 > low.grad[1]  # descending pushes to 0 and to 1


def test_the_depth_penalty_pulls_to_its_target():
    assert depth_penalty(torch.tensor(0.7), None) == pytest.approx(0.7)
    assert depth_penalty(torch.tensor(0.7), 0.7) == 0
    assert depth_penalty(torch.tensor(0.8), 0.7) == pytest.approx(1, rel=1e-4)
