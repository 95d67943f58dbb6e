"""`compute_loss`, under its published name and signature."""

import inspect
import math

import pytest
import torch
import torch.nn.functional as F

from tmt.training.loss import compute_loss

LOGITS = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(10).view(2, 5) % 7


def test_the_published_signature():
    parameters = inspect.signature(compute_loss).parameters
    assert list(parameters) == ["logits", "targets", "confidences", "exit_gate_coeff", "ignore_index"]
    assert (parameters["exit_gate_coeff"].default, parameters["ignore_index"].default) == (0.1, -100)


def test_without_confidences_it_is_the_cross_entropy():
    total, ce, gate = compute_loss(LOGITS, TARGETS, [])
    torch.testing.assert_close(ce, F.cross_entropy(LOGITS.flatten(0, 1), TARGETS.flatten()))
    assert total == ce
    assert gate == 0


@pytest.mark.parametrize("ignored", [-100, 3])
def test_ignored_targets_do_not_count(ignored: int):
    targets = TARGETS.clone()
    targets[0, :3] = ignored
    keep = targets != ignored
    _, ce, _ = compute_loss(LOGITS, targets, [], ignore_index=ignored)
    torch.testing.assert_close(ce, F.cross_entropy(LOGITS[keep], targets[keep]))


@pytest.mark.parametrize(("confidence", "entropy"), [(0.5, math.log(2)), (0.9, 0.325083), (0.1, 0.325083)])
def test_the_entropy_of_the_gates(confidence: float, entropy: float):
    confidences = [torch.full((2, 5), confidence), torch.full((2, 5), 0.5)]
    total, ce, gate = compute_loss(LOGITS, TARGETS, confidences, exit_gate_coeff=0.3)
    assert float(gate) == pytest.approx((entropy + math.log(2)) / 2, abs=1e-5)
    assert float(total) == pytest.approx(float(ce + 0.3 * gate))


def test_gradients_reach_logits_and_confidences_and_push_to_certainty():
    logits = LOGITS.clone().requires_grad_()
    confidences = [torch.full((2, 5), value, requires_grad=True) for value in (0.3, 0.7)]
    compute_loss(logits, TARGETS, confidences)[0].backward()
    assert float(logits.grad.abs().min()) > 0
    assert (confidences[0].grad > 0).all()
    assert (confidences[1].grad < 0).all()


def test_certain_gates_keep_finite_gradients():
    confidence = torch.tensor([[0.0, 1.0, 1e-30, 0.5, 1 - 1e-7]] * 2, requires_grad=True)
    compute_loss(LOGITS, TARGETS, [confidence])[0].backward()
    assert confidence.grad.isfinite().all()


def test_half_precision_logits_are_scored_in_float32():
    total, _, _ = compute_loss(LOGITS.bfloat16(), TARGETS, [])
    assert total.dtype == torch.float32


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 5, 7\) do not fit targets \(2, 4\)"):
        compute_loss(LOGITS, TARGETS[:, :4], [])
