"""Every field of the optimisers' configuration does what its line says: steps are repeated by hand."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers import make_trainer

from tmt.training.loop import Trainer
from tmt.training.muon import ORTHOGONALISERS, Muon, orthogonalised

CONSTANT = dict(schedule="warmdown", warmup=0.0, warmdown=0.1, ema_decay=0.0, grad_clip=0.0)
"""No rate rises or falls before the end of the budget."""
GROUPS = ("matrices", "embeddings", "small")


def one_of_each(trainer: Trainer) -> dict[str, torch.nn.Parameter]:
    """A parameter of every group."""
    model = trainer.model
    return dict(
        zip(GROUPS, (model.blocks[0].ffn.gate.weight, model.embedding.weight, model.norm.weight), strict=True)
    )


def trained(
    trainer: Trainer, gradients: list[dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, list[Tensor]]:
    """The watched parameters before and after every step, whose gradients are replaced by these."""
    watched = one_of_each(trainer)
    course = {name: [p.detach().clone()] for name, p in watched.items()}
    first = trainer.optimizers[0]
    step = first.step
    for gradient in gradients:

        def replaced(gradient: dict[str, Tensor] = gradient) -> None:
            for name, parameter in watched.items():
                parameter.grad.copy_(gradient[name])
            step()

        monkeypatch.setattr(first, "step", replaced)
        trainer.take_step()
        for name, parameter in watched.items():
            course[name].append(parameter.detach().clone())
    return course


def draw(trainer: Trainer, steps: int) -> list[dict[str, Tensor]]:
    return [{name: torch.randn_like(p) for name, p in one_of_each(trainer).items()} for _ in range(steps)]


def adamw(
    start: Tensor, gradients: list[Tensor], lr: float, decay: float, beta1: float, beta2: float, eps: float
):
    """AdamW as it is published (Loshchilov & Hutter, 2019)."""
    weight, mean, square = start.double(), 0.0, 0.0
    for t, gradient in enumerate(gradients, start=1):
        mean = beta1 * mean + (1 - beta1) * gradient.double()
        square = beta2 * square + (1 - beta2) * gradient.double() ** 2
        update = mean / (1 - beta1**t) / ((square / (1 - beta2**t)).sqrt() + eps)
        weight = weight * (1 - lr * decay) - lr * update
    return weight.float()


@pytest.mark.shows("OptimConfig", "optimizer", "lr", "adamw_lr", "small_lr", "weight_decay", "small_decay")
@pytest.mark.shows("OptimConfig", "beta1", "beta2", "eps")
def test_adamw_trains_every_group_at_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    optim: dict[str, Any] = dict(
        optimizer="adamw", lr=0.03, adamw_lr=0.02, small_lr=0.01, weight_decay=0.2, small_decay=0.4,
        beta1=0.8, beta2=0.9, eps=0.05,
    )  # fmt: skip
    trainer = make_trainer(tmp_path, steps=100, optim=CONSTANT | optim)
    gradients = draw(trainer, 3)
    for name, course in trained(trainer, gradients, monkeypatch).items():
        lr = dict(zip(GROUPS, (0.03, 0.02, 0.01), strict=True))[name]
        decay = 0.4 if name == "small" else 0.2
        expected = adamw(course[0], [g[name] for g in gradients], lr, decay, 0.8, 0.9, 0.05)
        torch.testing.assert_close(course[-1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.shows("OptimConfig", "small_lr")
def test_small_parameters_share_the_rate_of_the_rest_unless_told(tmp_path: Path):
    for small, expected in ((None, 0.02), (0.5, 0.5)):
        trainer = make_trainer(tmp_path, steps=9, optim=dict(adamw_lr=0.02, small_lr=small))
        assert trainer.optimizers[1].param_groups[-1]["peak_lr"] == expected


@pytest.mark.shows("OptimConfig", "momentum", "equal_rows", "orthogonaliser")
@pytest.mark.parametrize("equal_rows", [False, True])
@pytest.mark.parametrize("orthogonaliser", ORTHOGONALISERS)
def test_muon_trains_the_matrices(
    equal_rows: bool, orthogonaliser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    optim = dict(
        lr=0.03, weight_decay=0.2, momentum=0.7, equal_rows=equal_rows, orthogonaliser=orthogonaliser
    )
    trainer = make_trainer(tmp_path, steps=100, optim=CONSTANT | optim)
    assert isinstance(trainer.optimizers[0], Muon)
    gradients = draw(trainer, 3)
    course = trained(trainer, gradients, monkeypatch)["matrices"]
    weight, buffer = course[0], torch.zeros_like(course[0])
    for gradient in (g["matrices"] for g in gradients):
        buffer = 0.7 * buffer + gradient
        update = gradient + 0.7 * buffer
        if equal_rows:
            update = update / update.norm(dim=-1, keepdim=True)
        direction = orthogonalised(update[None], ORTHOGONALISERS[orthogonaliser])[0].float()
        weight = weight * (1 - 0.03 * 0.2) - 0.03 * direction * math.sqrt(
            max(1, len(update) / update.shape[1])
        )
    torch.testing.assert_close(course[-1], weight, rtol=1e-3, atol=2e-3)
    others = [o for o in ORTHOGONALISERS if o != orthogonaliser]
    assert all(
        (orthogonalised(update[None], ORTHOGONALISERS[o])[0] - direction).abs().max() > 0.01 for o in others
    )


@pytest.mark.shows("OptimConfig", "momentum_start", "momentum_warmup")
def test_momentum_rises_over_its_share(tmp_path: Path):
    optim = dict(momentum=0.9, momentum_start=0.5, momentum_warmup=0.4)
    trainer, seen = make_trainer(tmp_path, steps=10, optim=optim), []
    for _ in range(6):
        trainer.take_step()
        seen.append(trainer.optimizers[0].param_groups[0]["momentum"])
    assert seen == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.9])


@pytest.mark.shows("OptimConfig", "schedule", "warmup", "warmdown", "min_lr_ratio")
@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("cosine", [0, 0.5, 1, *(0.2 + 0.4 * (1 + math.cos(math.pi * (t - 2) / 8)) for t in range(3, 10))]),
        ("warmdown", [0, 0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4]),
    ],
)
def test_rates_follow_the_schedule(schedule: str, factors: list[float], tmp_path: Path):
    optim = dict(schedule=schedule, warmup=0.2, warmdown=0.4, min_lr_ratio=0.2, lr=0.02)
    trainer, seen = make_trainer(tmp_path, steps=10, optim=optim), []
    for _ in range(10):
        trainer.take_step()
        seen.append(trainer.optimizers[0].param_groups[0]["lr"] / 0.02)
    assert seen == pytest.approx(factors)


@pytest.mark.shows("OptimConfig", "grad_clip")
def test_the_optimisers_see_clipped_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for limit in (0.0, 0.05):
        trainer, norms = make_trainer(tmp_path, steps=9, optim=CONSTANT | dict(grad_clip=limit)), []
        gradients = list(trainer.model.parameters())

        def look(gradients: list = gradients, norms: list = norms) -> None:
            norms.append(float(torch.stack([p.grad.norm() for p in gradients]).norm()))

        monkeypatch.setattr(trainer.optimizers[0], "step", look)
        trainer.take_step()
        assert norms == pytest.approx([limit], rel=1e-3) if limit else norms[0] > 0.1


@pytest.mark.shows("OptimConfig", "ema_decay", "ema_ramp")
@pytest.mark.parametrize("ramp", [False, True])
def test_the_average_forgets_as_fast_as_asked(ramp: bool, tmp_path: Path):
    trainer = make_trainer(tmp_path, steps=9, optim=dict(ema_decay=0.6, ema_ramp=ramp, warmup=0.0))
    average = trainer.model.embedding.weight.detach().clone()
    for update in range(1, 4):
        trainer.take_step()
        kept = min(0.6, (1 + update) / (10 + update)) if ramp else 0.6
        average = kept * average + (1 - kept) * trainer.model.embedding.weight.detach()
    torch.testing.assert_close(trainer.evaluated_model.embedding.weight.detach(), average)
    assert make_trainer(tmp_path, steps=9, optim=dict(ema_decay=0.0)).average is None


@pytest.mark.shows("OptimConfig", "exit_gate_coeff")
@pytest.mark.parametrize("objective", ["entropy", "learned"])
@pytest.mark.parametrize("coefficient", [0.0, 0.3])
def test_the_exits_objective_comes_in_over_a_fifth_of_the_budget(
    objective: str, coefficient: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The gradient of every step is that of the loss and of so much of the penalty."""
    model = dict(exit_objective=objective, target_depth=None, exit_threshold=0.5)
    trainer = make_trainer(
        tmp_path, "tmt", steps=20, model=model, optim=CONSTANT | dict(exit_gate_coeff=coefficient)
    )
    outputs: list[Any] = []
    trainer.model.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    gate = next(iter(trainer.model.gates.values())).score.weight
    step, weights = trainer.optimizers[0].step, []

    def compare() -> None:
        weights.append(gate.grad.clone())
        step()

    monkeypatch.setattr(trainer.optimizers[0], "step", compare)
    backward = torch.Tensor.backward

    def kept(self: Tensor, *arguments: Any, **options: Any) -> None:
        loss, penalty = (torch.autograd.grad(part, gate, retain_graph=True, allow_unused=True)[0]
                         for part in (outputs[-1].loss, outputs[-1].penalty))  # fmt: skip
        parts.append((torch.zeros_like(gate) if loss is None else loss, penalty))
        backward(self, *arguments, **options)

    parts: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(torch.Tensor, "backward", kept)
    for _ in range(7):
        trainer.take_step()
    for index, share in enumerate((0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0)):
        loss, penalty = parts[index]
        assert penalty.abs().max() > 1e-6
        torch.testing.assert_close(weights[index], loss + coefficient * share * penalty, rtol=1e-4, atol=1e-9)
