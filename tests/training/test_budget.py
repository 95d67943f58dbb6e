"""A budget of minutes on a clock of the test's own: what it stops, switches and does not count."""

import itertools
from pathlib import Path

import pytest
import torch
from trainers import make_trainer, run

from tmt.errors import InputError
from tmt.training import loop
from tmt.training.loop import Trainer

SECOND = 1 / 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is half a second after the last."""
    ticks = itertools.count(step=0.5)
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(ticks))


def steps_of(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bool, float]]:
    """Share, loops and rate of every step of a run."""
    seen, take_step = [], trainer.take_step

    def watched():
        share = trainer.share
        result = take_step()
        seen.append((share, trainer.model.looping, trainer.factor))
        return result

    monkeypatch.setattr(trainer, "take_step", watched)
    run(trainer)
    return seen


def shares_of(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The share of the budget before every step of a run."""
    seen, take_step = [], trainer.take_step

    def watched():
        seen.append(trainer.share)
        return take_step()

    monkeypatch.setattr(trainer, "take_step", watched)
    run(trainer)
    return seen


def test_loops_rates_and_the_end_follow_the_clock(
    tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
):
    """Steps of half a second in a budget of five: ten, of which those from 0.35 on loop."""
    optim = dict(schedule="warmdown", warmup=0.0, warmdown=0.667, min_lr_ratio=0.0)
    trainer = make_trainer(tmp_path, "golf", minutes=5 * SECOND, optim=optim)
    steps = steps_of(trainer, monkeypatch)
    assert [share for share, *_ in steps] == pytest.approx([i / 10 for i in range(10)])
    assert [looping for _, looping, _ in steps] == [False] * 4 + [True] * 6
    assert steps[-1][2] == pytest.approx(0.1 / 0.667)
    assert trainer.elapsed == 5.0


def test_evaluation_does_not_count(tmp_path: Path, clock: None):
    def slow(model: torch.nn.Module) -> float:
        for _ in range(50):
            loop.time.monotonic()
        return 1.0

    trainer = make_trainer(tmp_path, minutes=3 * SECOND, eval_every=0.25, validate=slow)
    run(trainer)
    assert (trainer.step, trainer.elapsed) == (6, 3.0)


@pytest.mark.parametrize("arch", ["golf", "tmt"])
def test_priming_leaves_no_trace(arch: str, tmp_path: Path, clock: None):
    plain = make_trainer(tmp_path / "plain", arch, minutes=3 * SECOND)
    primed = make_trainer(tmp_path / "primed", arch, minutes=3 * SECOND, priming=2)
    ran = []
    primed.model.register_forward_hook(lambda model, *_: ran.append(getattr(model, "looping", None)))
    primed.prime()
    assert len(ran) == 4
    if arch == "golf":
        assert ran == [False, False, True, True]
    assert (primed.step, primed.elapsed) == (0, 0.0)
    for (name, expected), weight in zip(
        plain.model.state_dict().items(), primed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, expected), name
    for _ in range(3):
        assert plain.take_step().loss == primed.take_step().loss
    for expected, weight in zip(
        plain.evaluated_model.parameters(), primed.evaluated_model.parameters(), strict=True
    ):
        assert torch.equal(weight, expected)


def test_priming_is_for_clocks(tmp_path: Path):
    trainer = make_trainer(tmp_path, steps=2, priming=3)
    ran = []
    trainer.model.register_forward_hook(lambda *_: ran.append(1))
    run(trainer)
    assert len(ran) == 2


@pytest.mark.shows("Budget", "tokens")
@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 1), (2, 2), (2, 1)])
def test_tokens_end_a_run_whatever_its_steps(batch_size: int, accumulate: int, tmp_path: Path):
    trainer = make_trainer(tmp_path, tokens=640, batch_size=batch_size, accumulate=accumulate)
    lines = run(trainer)
    assert trainer.tokens == trainer.loader.state_dict()["sequences"] * 16 == 640
    assert lines[-1]["tokens"] == 640


@pytest.mark.shows("Budget", "flops")
@pytest.mark.parametrize("arch", ["transformer", "golf", "tmt"])
def test_counted_operations_end_a_run(arch: str, tmp_path: Path):
    """Those of the passes that ran: golf also loops, and tokens leave some layers of a TMT out."""
    trainer = make_trainer(tmp_path, arch, flops=4e7)
    counted = []
    trainer.model.register_forward_hook(lambda model, inputs, output: counted.append(3 * output.flops))
    lines = run(trainer)
    assert trainer.flops == lines[-1]["flops"] == sum(counted)
    assert sum(counted[:-1]) < 4e7 <= sum(counted)
    assert len(set(counted)) == {"transformer": 1, "golf": 2}.get(arch, len(set(counted)))


@pytest.mark.shows("Budget", "core_minutes")
def test_the_clock_of_a_core_stands_still_while_others_work(
    tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
):
    """Every look at the processor's clock is a second after the last, at the wall's half a second."""
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "process_time", lambda: float(next(ticks)))
    trainer = make_trainer(tmp_path, core_minutes=5 * SECOND)
    assert shares_of(trainer, monkeypatch) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert (trainer.core_seconds, trainer.elapsed) == (5.0, 2.5)


@pytest.mark.parametrize("budget", [dict(tokens=640), dict(flops=4e7), dict(core_minutes=5 * SECOND)])
def test_a_budget_is_spent_once_however_often_a_run_is_resumed(
    budget: dict, tmp_path: Path, clock: None, monkeypatch: pytest.MonkeyPatch
):
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "process_time", lambda: float(next(ticks)))
    whole, cut = (make_trainer(tmp_path / name, **budget) for name in ("whole", "cut"))
    steps = len(run(whole))
    for _ in range(2):
        cut.take_step()
        cut.core_seconds += 1
    cut.folder.mkdir()
    cut.save()
    again = make_trainer(tmp_path / "cut", **budget)
    again.resume()
    run(again)
    assert steps > 2
    assert (again.step, again.tokens, again.flops, again.core_seconds) == (
        whole.step, whole.tokens, whole.flops, whole.core_seconds,
    )  # fmt: skip


def test_one_budget_is_given(tmp_path: Path):
    with pytest.raises(InputError, match="give one of steps, minutes, tokens"):
        make_trainer(tmp_path, steps=3, tokens=64)
    with pytest.raises(InputError, match="flops=0 must be above zero"):
        make_trainer(tmp_path, flops=0)
