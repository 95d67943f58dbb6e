"""The training loop: what a step does, when it is scored and kept, and when it stops."""

import math
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from trainers import VOCAB, make_trainer, metrics, run

from tmt.checkpoint import load_weights
from tmt.errors import InputError
from tmt.model import build_model
from tmt.training.loop import Trainer

ARCHITECTURES = ["tmt", "transformer", "toeplitz", "golf"]
PLAIN = dict(warmup=0.0, ema_decay=0.0, min_lr_ratio=1.0)
UNCLIPPED = PLAIN | {"grad_clip": 0.0}


def gradients_of_first_step(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """What the optimisers of a trainer get to see."""
    seen = {}

    def remember() -> None:
        seen.update({name: p.grad.clone() for name, p in trainer.model.named_parameters()})

    monkeypatch.setattr(trainer.optimizers[0], "step", remember)
    trainer.take_step()
    return seen


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_training_learns(arch: str, tmp_path: Path):
    lines = run(make_trainer(tmp_path, arch, steps=60))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[0] == pytest.approx(math.log(VOCAB), abs=0.2)
    assert losses[-1] < losses[0] - 0.3


def test_accumulated_small_batches_are_one_large_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = make_trainer(tmp_path, steps=4, batch_size=8, optim=UNCLIPPED)
    parts = make_trainer(tmp_path, steps=4, batch_size=4, accumulate=2, optim=UNCLIPPED)
    with monkeypatch.context() as patch:
        expected = gradients_of_first_step(whole, patch)
        actual = gradients_of_first_step(parts, patch)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-4, atol=1e-6)
    for _ in range(3):
        assert parts.take_step().loss == pytest.approx(whole.take_step().loss, abs=5e-5)


@pytest.mark.parametrize("limit", [0.01, 0.0, 1e6])
def test_gradients_are_clipped_to_the_norm_asked_for(
    limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = make_trainer(tmp_path, steps=2, optim=PLAIN | {"grad_clip": limit})
    norm = float(get_total_norm(gradients_of_first_step(trainer, monkeypatch).values()))
    free = make_trainer(tmp_path, steps=2, optim=UNCLIPPED).take_step().grad_norm
    assert free > 0.05
    assert norm == pytest.approx(limit if limit == 0.01 else free, rel=1e-3)


def floats(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters, memory and thresholds."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_average_is_that_of_the_weights(arch: str, tmp_path: Path):
    trainer = make_trainer(tmp_path, arch, steps=6, optim={"ema_decay": 0.8})
    expected = {name: weight.clone() for name, weight in floats(trainer.model).items()}
    for _ in range(5):
        trainer.take_step()
        for name, weight in floats(trainer.model).items():
            expected[name] = 0.8 * expected[name] + 0.2 * weight
    for name, weight in floats(trainer.evaluated_model).items():
        torch.testing.assert_close(weight, expected[name], msg=name)
    assert trainer.evaluated_model is not trainer.model


def test_a_model_is_told_how_far_its_training_is(tmp_path: Path):
    """Loops begin with the first step at their share of the budget, and a resumed run knows."""
    trainer, looped = make_trainer(tmp_path, "golf", steps=20), []
    for _ in range(9):
        trainer.take_step()
        looped.append(trainer.model.looping)
    assert looped == [False] * 7 + [True] * 2
    trainer.save()
    resumed = make_trainer(tmp_path, "golf", steps=20)
    resumed.resume()
    assert resumed.take_step().loss == trainer.take_step().loss
    assert resumed.model.looping


def test_without_an_average_the_model_itself_is_evaluated(tmp_path: Path):
    trainer = make_trainer(tmp_path, steps=2, optim={"ema_decay": 0.0})
    assert trainer.evaluated_model is trainer.model


@pytest.mark.parametrize(
    ("steps", "share", "expected"),
    [
        (10, 0.1, range(1, 11)),
        (20, 0.15, [3, 6, 9, 12, 15, 18, 20]),
        (7, 0.5, [4, 7]),
        (3, 0.01, [1, 2, 3]),
        (5, 1.0, [5]),
    ],
)
def test_evaluation_happens_at_the_shares_asked_for(
    steps: int, share: float, expected: list[int], tmp_path: Path
):
    lines = run(make_trainer(tmp_path, steps=steps, eval_every=share))
    assert [line["step"] for line in lines if "valid_nats" in line] == list(expected)


def test_the_best_weights_are_kept(tmp_path: Path):
    scores, weights = iter([3.0, 1.0, 2.0, 1.0]), []

    def validate(model: torch.nn.Module) -> float:
        assert not model.training
        weights.append(model.embedding.weight.detach().clone())
        return next(scores)

    trainer = make_trainer(tmp_path, steps=4, eval_every=0.25, validate=validate)
    run(trainer)
    kept = build_model("transformer", trainer.config.model)
    load_weights(kept, tmp_path)
    assert torch.equal(kept.embedding.weight, weights[1])
    assert not torch.equal(weights[1], weights[3])
    assert trainer.best == 1.0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_bfloat16_trains_close_to_float32(arch: str, tmp_path: Path):
    exact, rounded = (
        run(make_trainer(tmp_path, arch, steps=30, eval_every=1.0, precision=precision))
        for precision in ("fp32", "bf16")
    )
    losses = [[line["loss"] for line in lines if "loss" in line] for lines in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1][-1] == pytest.approx(losses[0][-1], abs=0.2)
    assert losses[1][-1] < losses[1][0] - 0.05


def test_weights_stay_float32_under_bfloat16(tmp_path: Path):
    trainer = make_trainer(tmp_path, "tmt", steps=2, precision="bf16")
    run(trainer)
    assert trainer.bf16
    assert {tensor.dtype for tensor in trainer.model.parameters()} == {torch.float32}


def test_anchors_move_once_a_step_and_not_in_evaluation(tmp_path: Path):
    def validate(model: torch.nn.Module) -> float:
        before = model.memory.total.clone()
        model(torch.zeros(2, 16, dtype=torch.long), return_state=True)
        assert torch.equal(model.memory.total, before)
        return 1.0

    trainer = make_trainer(tmp_path, "tmt", steps=3, accumulate=2, eval_every=0.3, validate=validate)
    memory, updates = trainer.model.memory, []
    update = memory.update
    memory.update = lambda *use: (updates.append(memory.total.clone()), update(*use))
    run(trainer)
    assert len(updates) == 3
    assert not torch.equal(updates[0], updates[1])
    assert not torch.equal(updates[2], memory.total)


@pytest.mark.parametrize("where", ["loss", "gradient norm"])
def test_a_run_that_diverges_stops_and_keeps_the_state_before(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    healthy = make_trainer(tmp_path, steps=5)
    trainer = make_trainer(tmp_path, steps=5)
    forward = trainer.model.forward

    def poisoned(*args, **kwargs):
        output = forward(*args, **kwargs)
        if trainer.step == 2:
            if where == "loss":
                output.loss = output.loss * math.nan
            else:
                output.loss.register_hook(lambda gradient: gradient * math.nan)
        return output

    monkeypatch.setattr(trainer.model, "forward", poisoned)
    with pytest.raises(InputError, match=rf"the {where} became nan at step 3; .* lower --lr"):
        run(trainer)
    for _ in range(2):
        healthy.take_step()
    resumed = make_trainer(tmp_path, steps=5)
    resumed.resume()
    assert resumed.step == 2
    for name, weight in healthy.model.named_parameters():
        assert torch.equal(weight, resumed.model.get_parameter(name)), name
    run(resumed)
    assert [line["step"] for line in metrics(tmp_path) if "loss" in line] == [1, 2, 3, 4, 5]


def test_every_rank_draws_its_own_dropout_masks(tmp_path: Path):
    """Seeded alike and on the same batch; the first rank's are those of a process by itself."""

    def masks(rank: int, steps: int, start: int = 0) -> list[torch.Tensor]:
        trainer = make_trainer(tmp_path, steps=9, model=dict(dropout=0.5))
        trainer.ranks.rank, trainer.step = rank, start
        drawn: list[torch.Tensor] = []
        trainer.model.dropout.register_forward_hook(lambda module, inputs, output: drawn.append(output != 0))
        for _ in range(steps):
            trainer.take_step()
        return drawn

    first, second, third = (masks(rank, 2) for rank in range(3))
    for one, other in combinations([*first, *second, *third], 2):
        assert 0.3 < (one != other).double().mean() < 0.7
    assert all(map(torch.equal, second, masks(1, 2)))
    assert torch.equal(masks(1, 1, start=1)[0], second[1])  # as a run that goes on draws them
