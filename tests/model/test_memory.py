"""The bank inside the model: forward passes read it, only after_step moves it."""

import pytest
import torch
from builders import build, draw_tokens


def bank(model: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    return model.memory.count.clone(), model.memory.total.clone()


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("overrides", [{}, dict(stream_memory=True)], ids=["frozen", "streaming"])
def test_a_forward_pass_leaves_the_bank_alone(training: bool, overrides: dict):
    model, tokens = build(**overrides).train(training), draw_tokens(2, 20)
    before = bank(model)
    output = model(tokens, targets=tokens, return_state=True)
    if training:
        output.loss.backward()
    model(tokens, output.state)
    assert all(torch.equal(a, b) for a, b in zip(before, bank(model), strict=True))
    assert bool(output.statistics) == training


def test_the_step_moves_the_bank():
    model = build().train()
    before = bank(model)
    model.after_step(model(draw_tokens(2, 20)).statistics)
    figures = model.figures()
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(before, bank(model), strict=True))
    assert model.memory.count.sum() == pytest.approx(4, rel=0.02)
    assert figures["memory_rank"] == model.memory.effective_rank()
    assert figures["memory_usage"] == model.memory.usage()


@torch.no_grad()
def test_statistics_add_over_micro_batches():
    model, tokens = build().train(), draw_tokens(4, 20)
    whole = model(tokens).statistics
    parts = [model(part).statistics for part in tokens.split(1)]
    for name in ("memory.count", "memory.total"):
        torch.testing.assert_close(sum(part[name] for part in parts), whole[name])
    assert not any(value.requires_grad for value in whole.values())


@torch.no_grad()
def test_anchors_are_read():
    model, tokens = build(), draw_tokens(2, 20)
    before = model(tokens)
    model.memory.total.normal_()
    assert (model(tokens).logits - before.logits).abs().max() > 1e-3
    torch.testing.assert_close(model(tokens).memory_state, model.memory.anchors())


def test_no_gradient_reaches_the_bank():
    model, tokens = build().train(), draw_tokens(2, 20)
    model(tokens, targets=tokens).loss.backward()
    assert not model.memory.total.requires_grad
    assert {"memory.count", "memory.total"} <= set(model.state_dict())


@torch.no_grad()
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_the_bank_of_a_model_does_not_collapse(momentum: float):
    model = build(memory_anchors=8, memory_momentum=momentum, dtype=torch.float32).train()
    for step in range(60):
        model.after_step(model(draw_tokens(4, 30, seed=step)).statistics)
    assert model.memory.effective_rank() > 3
    assert model.memory.usage() > 4
    assert torch.isfinite(model.memory.total).all()
