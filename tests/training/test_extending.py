"""A run that goes on with more: another budget, another batch, the same text from where it was."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_runs import Result
from tmt.checkpoint import load_run
from tmt.run_folder import load_config
from tmt.training.loop import Trainer
from tmt.training.state import load_state

pytest_plugins = ["command_line"]

LOG = ["--set=train.log_every=1", "--set=train.eval_every=0.5"]
Train = Callable[..., Result]


@pytest.fixture
def run(train: Train, tmp_path: Path) -> Path:
    """A finished run of four steps."""
    assert train(tmp_path / "run", "--steps=4", *LOG, arch="transformer").code == 0
    return tmp_path / "run"


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def logged(folder: Path, name: str) -> dict[int, Any]:
    """A figure by its step."""
    return {line["step"]: line[name] for line in lines(folder) if name in line}


def state(folder: Path) -> dict[str, Any]:
    return load_state(Trainer.state_path(folder))


def test_a_finished_run_goes_on_at_the_rates_of_the_longer_one(run: Path, train: Train, tmp_path: Path):
    before, losses = load_run(run).model, logged(run, "loss")
    assert train(run, "--resume", "--steps=10", arch="transformer").code == 0
    assert load_config(run).train.steps == 10
    assert logged(run, "loss").keys() == {*range(1, 11)}
    assert {step: loss for step, loss in logged(run, "loss").items() if step < 5} == losses
    assert logged(run, "valid_nats").keys() == {2, 4, 5, 10}  # halves of 4, then of 10
    assert train(tmp_path / "long", "--steps=10", *LOG, arch="transformer").code == 0
    rates, long = logged(run, "lr"), logged(tmp_path / "long", "lr")
    assert {step: rates[step] for step in range(5, 11)} == {step: long[step] for step in range(5, 11)}
    assert rates[4] < rates[5]
    assert logged(run, "tokens") == logged(tmp_path / "long", "tokens")
    assert state(run)["loader"] == state(tmp_path / "long")["loader"]
    after = load_run(run).model
    assert not torch.equal(before.head.weight, after.head.weight)


def test_another_batch_goes_on_at_the_same_token(run: Path, train: Train):
    more = ["--batch-size=3", "--accumulate=2", "--steps=6"]
    assert train(run, "--resume", *more, arch="transformer").code == 0
    assert state(run)["loader"]["sequences"] == 4 * 2 + 2 * 3 * 2
    assert logged(run, "tokens") == {1: 64, 2: 128, 3: 192, 4: 256, 5: 448, 6: 640}
    assert train(run, "--resume", "--batch-size=3", "--steps=7", arch="transformer").code == 0
    assert logged(run, "tokens")[7] == 832
    config = load_config(run).train
    assert (config.batch_size, config.accumulate, config.steps) == (3, 2, 7)


def test_it_is_stopped_and_goes_on_as_it_was_extended(
    run: Path, train: Train, monkeypatch: pytest.MonkeyPatch
):
    step = Trainer.take_step

    def interrupted(trainer: Trainer):
        if trainer.step == 5:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "take_step", interrupted)
        assert train(run, "--resume", "--steps=8", arch="transformer").code == 130
    assert max(logged(run, "loss")) == 6
    assert train(run, "--resume", arch="transformer").code == 0
    assert max(logged(run, "loss")) == 8


def test_another_kind_of_budget(run: Path, train: Train):
    assert train(run, "--resume", "--set=train.tokens=400", arch="transformer").code == 0
    assert max(logged(run, "loss")) == 7  # the step that reaches 400 of 64 each
    config = load_config(run).train
    assert (config.steps, config.tokens) == (None, 400)


def test_what_is_used_up_is_refused_and_nothing_changes(run: Path, train: Train):
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for less, said in (("--steps=3", "train.steps=3"), ("--set=train.tokens=256", "train.tokens=256")):
        complaint = train(run, "--resume", less, arch="transformer").err.splitlines()[-1]
        assert complaint.startswith(f"tmt: error: {said} is used up: the run has taken 4 steps in ")
        assert "name more" in complaint
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


def test_a_state_of_an_older_version_knows_its_tokens(
    run: Path, train: Train, monkeypatch: pytest.MonkeyPatch
):
    restore = Trainer.restore

    def old(trainer: Trainer, state: dict[str, Any]) -> None:
        del state["tokens"]
        restore(trainer, state)

    monkeypatch.setattr(Trainer, "restore", old)
    assert train(run, "--resume", "--steps=5", arch="transformer").code == 0
    assert logged(run, "tokens")[5] == 320
