"""Adaptive depth: who leaves, what leaving freezes, what trains the gates."""

import pytest
import torch
from builders import build, draw_tokens, run_cached, set_thresholds, switched

from tmt.model.model import TMTModel

OBJECTIVES = ["tmt", "entropy", "learned-thresholds", "random-exits", "position-exits"]


@torch.no_grad()
@pytest.mark.parametrize("name", [*OBJECTIVES, "two-landings", "no-landing", "project-exited"])
def test_masks_are_monotone_and_a_good_share_leaves(name: str):
    output = switched(name)(draw_tokens(3, 40))
    masks = torch.stack(output.exit_masks)
    assert masks.dtype == torch.bool
    assert (masks[1:] >= masks[:-1]).all()
    assert 0.1 < masks[0].double().mean() < 0.95
    assert name == "two-landings" or masks[0].sum() < masks[1].sum()


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ["tmt", "two-landings", "no-landing", "project-exited", "target-depth"])
def test_who_left_keeps_every_bit_until_the_landing(name: str, training: bool):
    model, tokens = switched(name).train(training), draw_tokens(3, 20)
    states: list[torch.Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, result: states.append(result[0].clone()))
    masks = model(tokens, return_diagnostics=True).exit_masks
    for layer in range(1, model.landing):
        left = masks[layer - 1].flatten()
        assert left.any()
        assert torch.equal(states[layer][left], states[layer - 1][left])
        moved = (states[layer] != states[layer - 1]).any(-1)
        assert moved[~left].all()
    for layer in range(model.landing, model.config.n_layers):
        assert (states[layer] != states[layer - 1]).any(-1).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["tmt", "learned-thresholds", "project-exited", "dense-first"])
def test_entry_and_landing_layers_run_for_all(name: str):
    model, tokens = switched(name), draw_tokens(2, 20)
    set_thresholds(model, 0.0)
    output = model(tokens)
    assert output.layer_tokens == [40, 0, 0, 40]
    assert (output.depth == 2).all()
    set_thresholds(model, 1.0)
    output = model(tokens)
    assert output.layer_tokens == [40, 40, 40, 40]
    assert not torch.stack(output.exit_masks).any()


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("name", ["tmt", "entropy", "learned-thresholds", "no-landing", "everything"])
def test_all_or_none_may_leave(name: str, threshold: float):
    model, tokens = switched(name), draw_tokens(3, 12)
    set_thresholds(model, threshold)
    with torch.no_grad():
        full = model(tokens).logits
        for row, logits in enumerate(run_cached(model, tokens, [(3, 5, 1), (4, 2, 6), (1, 1, 1)])):
            torch.testing.assert_close(logits, full[row, : len(logits)], rtol=0, atol=1e-9)
    output = model.train()(tokens, targets=tokens)
    (output.loss + (0 if output.penalty is None else output.penalty)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("objective", ["budget", "entropy"])
@pytest.mark.parametrize("target", [0.5, 0.61, 0.75, 1.0])
def test_the_target_depth_is_met_exactly_in_training(target: float, objective: str):
    model = build(n_layers=6, target_depth=target, exit_objective=objective).train()
    if target > 0.5:
        mean = (2 + sum(model.config.keep_shares)) / 6
        assert mean == pytest.approx(target)
    count = 3 * 40
    tokens = model(draw_tokens(3, 40)).layer_tokens
    assert tokens == [count, *(3 * round(share * 40) for share in model.config.keep_shares), count]
    assert sum(tokens) / (6 * count) == pytest.approx(target, abs=0.01)


@torch.no_grad()
@pytest.mark.parametrize("start", [1.0, 0.9, 0.05])
def test_thresholds_follow_and_unseen_depth_comes_near_the_target(start: float):
    model = build(n_layers=6, target_depth=0.6, memory_anchors=0).train()
    set_thresholds(model, start)
    tokens = draw_tokens(6, 60)
    for _ in range(110):
        model.after_step(model(tokens).statistics)
    assert len({float(gate.threshold) for gate in model.gates.values()}) > 1
    seen = model.eval()(tokens).depth.double().mean() / 6
    unseen = model(draw_tokens(6, 60, seed=8)).depth.double().mean() / 6
    assert seen == pytest.approx(0.6, abs=0.01)
    assert unseen == pytest.approx(0.6, abs=0.06)


@torch.no_grad()
def test_a_fixed_threshold_follows_nothing():
    model = build().train()
    for _ in range(3):
        model.after_step(model(draw_tokens(2, 20)).statistics)
    assert all(gate.threshold == 0.5 for gate in model.gates.values())


@torch.no_grad()
def test_equal_scores_do_not_collapse():
    """Exactly the wanted share stays while all confidences tie, and inference lets none of them go."""
    model = build(n_layers=6, target_depth=0.6)
    for gate in model.gates.values():
        gate.score.weight.zero_()
        gate.score.bias.zero_()
    output = model.train()(draw_tokens(3, 40))
    assert output.layer_tokens[1:-1] == [3 * round(share * 40) for share in model.config.keep_shares]
    model.after_step(output.statistics)
    assert model.eval()(draw_tokens(3, 40)).layer_tokens == [120] * 6


def gate_gradients(model: TMTModel, loss: torch.Tensor) -> list[torch.Tensor | None]:
    weights = [gate.score.weight for gate in model.gates.values()]
    return list(torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True))


@pytest.mark.parametrize("overrides", [{}, dict(target_depth=0.7)], ids=["threshold", "target"])
def test_cross_entropy_trains_the_gates_of_a_budget(overrides: dict):
    model, tokens = build(**overrides).train(), draw_tokens(2, 20)
    output = model(tokens, targets=draw_tokens(2, 20, seed=3))
    assert all(gradient.abs().max() > 1e-6 for gradient in gate_gradients(model, output.loss))
    assert output.penalty is None


def test_only_the_penalty_trains_the_gates_of_the_entropy_objective():
    model, tokens = build(exit_objective="entropy").train(), draw_tokens(2, 20)
    output = model(tokens, targets=draw_tokens(2, 20, seed=3))
    assert all(gradient is None for gradient in gate_gradients(model, output.loss))
    assert all(gradient.abs().max() > 1e-6 for gradient in gate_gradients(model, output.penalty))
    confidence = torch.cat([c.flatten() for c in build(exit_objective="entropy")(tokens).confidences[:1]])
    assert 0 < output.penalty < torch.log(torch.tensor(2.0))
    assert confidence.std() > 0.01


@pytest.mark.parametrize("target", [None, 0.7])
def test_learned_thresholds_are_trained_by_both_objectives(target: float | None):
    model, tokens = build(exit_objective="learned", target_depth=target).train(), draw_tokens(2, 20)
    set_thresholds(model, 0.5)
    output = model(tokens, targets=draw_tokens(2, 20, seed=3))
    thresholds = [gate.threshold for gate in model.gates.values()]
    for loss in (output.loss, output.penalty):
        assert all(g.abs() > 1e-9 for g in torch.autograd.grad(loss, thresholds, retain_graph=True))
    (slope,) = torch.autograd.grad(output.penalty, thresholds[:1])
    assert target is not None or slope > 0  # a higher threshold keeps more tokens: more depth


@torch.no_grad()
@pytest.mark.parametrize("kind", ["random", "position"])
def test_controls_read_no_content_but_the_token(kind: str):
    """Deterministic; the position control treats equal positions alike, the random one equal tokens there."""
    model, other = build(exit_gate=kind), build(exit_gate=kind, seed=5)
    tokens = draw_tokens(4, 40)
    first, again, elsewhere = (m(tokens).exit_masks[1] for m in (model, model, other))
    assert torch.equal(first, again)
    assert torch.equal(first, elsewhere)
    alike = (first == first[:1]).all(0)
    same_token = (tokens == tokens[:1]).all(0)
    assert alike.all() if kind == "position" else not alike.all()
    assert alike[same_token].all()
    assert 0.2 < first.double().mean() < 0.9


@torch.no_grad()
def test_the_random_control_is_uniform():
    model = build(exit_gate="random")
    confidence = model(draw_tokens(20, 90)).confidences[0].flatten()
    assert confidence.mean() == pytest.approx(0.5, abs=0.03)
    assert confidence.std() == pytest.approx(12**-0.5, abs=0.03)


@torch.no_grad()
def test_confidences_are_those_of_the_latest_gate():
    output = build()(draw_tokens(2, 20))
    for confidence in output.confidences:
        assert confidence.shape == (2, 20)
        assert ((confidence > 0) & (confidence < 1)).all()
    left = output.exit_masks[0]
    assert torch.equal(left, output.confidences[0] > 0.5)
    for later in output.confidences[1:]:
        assert torch.equal(later[left], output.confidences[0][left])
