"""Where steps lag behind the host: nothing waits, nothing is lost, and what is read is what was."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from device_stand_in import Device, Waited, pretend
from torch import Tensor
from trainers import make_trainer, metrics, run

from tmt.errors import InputError
from tmt.training.log import MetricsLog, Progress
from tmt.training.loop import Trainer
from tmt.training.state import load_state

MODELS: dict[str, dict[str, Any]] = {
    "transformer": {}, "toeplitz": {}, "golf": {}, "hyena": {}, "triangular": {},
    "tmt": {},
}  # fmt: skip
TIMES = {"elapsed", "core_seconds", "tokens_per_second", "flops"}


def lagging(trainer: Trainer) -> Trainer:
    """As it is on CUDA."""
    trainer.lags = True
    return trainer


def poison(trainer: Trainer, step: int, where: str, patch: pytest.MonkeyPatch) -> None:
    """The loss or the gradient of the step after so many is not finite."""
    forward = trainer.model.forward

    def poisoned(*args, **kwargs):
        output = forward(*args, **kwargs)
        if trainer.step == step:
            if where == "loss":
                output.loss = output.loss * math.nan
            else:
                output.loss.register_hook(lambda gradient: gradient * math.nan)
        return output

    patch.setattr(trainer.model, "forward", poisoned)


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, item in items for name, leaf in leaves(item, f"{path}.{key}").items()}
    return {path: value}


def assert_same_state(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    own, other = leaves(actual), leaves(expected)
    assert own.keys() == other.keys()
    for name in own.keys() - {".elapsed", ".core_seconds", ".flops", ".best"}:
        same = torch.equal if isinstance(own[name], Tensor) else lambda a, b: a == b
        assert same(own[name], other[name]), name


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("arch", MODELS)
def test_no_step_waits_for_the_device(
    arch: str, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    optim = dict(optimizer=optimizer, ema_ramp=True)
    trainer = lagging(make_trainer(tmp_path, arch, model=MODELS[arch], optim=optim, steps=9, accumulate=2))
    trainer.take_step()
    pretend(monkeypatch)
    assert trainer.average is not None
    with Device([trainer.average.n_averaged]):
        result = trainer.take_step()
        with pytest.raises(Waited):
            _ = result.loss
    assert math.isfinite(result.loss)
    assert trainer.step == 2


@pytest.mark.parametrize("log_every", [1, 4, 100])
def test_a_run_that_lags_logs_the_same_figures(log_every: int, tmp_path: Path):
    def figures(trainer: Trainer) -> list[dict[str, Any]]:
        lines = run(trainer)
        return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]

    settings: dict[str, Any] = dict(steps=11, log_every=log_every, eval_every=0.5)
    plain = make_trainer(tmp_path / "plain", "tmt", **settings)
    late = lagging(make_trainer(tmp_path / "late", "tmt", **settings))
    for folder in (plain.folder, late.folder):
        folder.mkdir()
    assert figures(late) == figures(plain)
    assert_same_state(late.state(), plain.state())


@pytest.mark.parametrize("where", ["loss", "gradient norm"])
@pytest.mark.parametrize("step", [0, 2, 5])
def test_a_lagging_run_that_diverges_goes_back_to_the_step_before(
    where: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings: dict[str, Any] = dict(steps=9, log_every=4, eval_every=1.0)
    late, plain = (make_trainer(tmp_path / name, "tmt", **settings) for name in ("late", "plain"))
    for trainer in (lagging(late), plain):
        trainer.folder.mkdir()
        poison(trainer, step, where, monkeypatch)
        with pytest.raises(InputError, match=rf"the {where} became nan at step {step + 1}; .* lower --lr"):
            run(trainer)
        assert [line["step"] for line in metrics(trainer.folder)] == ([4] if step == 5 else [])
    states = [load_state(Trainer.state_path(trainer.folder)) for trainer in (late, plain)]
    assert states[0]["step"] == step
    assert_same_state(*states)


def test_what_is_finite_the_second_time_trains_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer, healthy = (make_trainer(tmp_path, steps=9, log_every=4, eval_every=1.0) for _ in range(2))
    take, taken = lagging(trainer)._take_step, []

    def once(share: float):
        result = take(share)
        taken.append(trainer.step)
        if len(taken) == 6:
            object.__setattr__(result, "device_loss", result.device_loss * math.inf)
        return result

    monkeypatch.setattr(trainer, "_take_step", once)
    lines = run(trainer)
    run(healthy)
    assert taken == [1, 2, 3, 4, 5, 6, 7, 8, 5, 6, 7, 8, 9]
    assert [line["step"] for line in lines if "loss" in line] == [4, 8]
    assert_same_state(trainer.state(), healthy.state())
    assert trainer.lags


def test_a_lagging_run_is_interrupted_between_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = lagging(make_trainer(tmp_path, steps=40, log_every=30, eval_every=1.0))
    take = trainer.take_step

    def interrupting():
        if trainer.step == 6:
            signal.raise_signal(signal.SIGINT)
        return take()

    monkeypatch.setattr(trainer, "take_step", interrupting)
    log = MetricsLog(tmp_path, 0, tensorboard=False)
    assert not trainer.run(Progress(False, 0.0), log)
    log.close()
    resumed = make_trainer(tmp_path, steps=40)
    resumed.resume()
    assert resumed.step == 7


@pytest.mark.parametrize("where", ["loss", "gradient norm"])
def test_priming_that_diverges_saves_nothing(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer, fresh = (make_trainer(tmp_path, minutes=1.0, priming=3) for _ in range(2))
    poison(trainer, 2, where, monkeypatch)
    with pytest.raises(InputError, match=rf"the {where} became nan at step 3, which was to prime.* nothing"):
        run(trainer)
    assert not Trainer.state_path(tmp_path).exists()
    assert_same_state(trainer.state(), fresh.state())
