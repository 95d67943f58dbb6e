"""`tmt tasks`: the list, records and tables, resuming, refusals before any work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.commands import tasks as command
from tmt.tasks import TASKS
from tmt.tasks.learn import TaskJob

pytest_plugins = ["command_line"]

TINY = ["--set=model.d_model=16", "--steps=1", "--batch-size=2", "--device=cpu", "--arch=transformer"]
SMALL_COPY = ["copy", "--size=half=3", "--size=symbols=5", *TINY]


def test_the_list_names_every_task(tmt: Callable[..., Result]):
    lines = tmt("tasks", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == [*TASKS, "information"]
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_gives_a_record(task: str, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.tasks.learn.EVALUATED", 4)
    result = tmt("tasks", task, *TINY, "--json")
    assert result.code == 0
    record = json.loads(result.out)
    assert (record["task"], record["arch"], record["steps"]) == (task, "transformer", 1)
    assert 0 <= record["accuracy"] <= 1
    assert record["floor"] < record["solve"] == pytest.approx(1.0)


def test_information_compares_three_encoders(tmt: Callable[..., Result], trained: Path):
    quick = ["--steps=1", "--batch-size=2", "--device=cpu", "--size=length=8"]
    result = tmt("tasks", "information", *quick, f"--encoder={trained}", "--json")
    assert result.code == 0, result.err
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [record["encoder"] for record in records] == ["untrained", "trained", "autoencoder"]
    assert {record["run"] for record in records} == {str(trained)}
    assert {record["arch"] for record in records} == {"tmt"}


def test_every_rate_seed_and_architecture_is_trained_and_the_table_sums_up(
    tmt: Callable[..., Result], tmp_path: Path
):
    file = tmp_path / "rows.jsonl"
    arguments = [
        *SMALL_COPY,
        "--arch=transformer,tmt",
        "--set=model.n_layers=1",
        "--lr=1e-3,1e-2",
        "--seeds=0,1",
    ]
    result = tmt("tasks", *arguments, "--set=model.max_seq_len=32", f"--json={file}")
    assert result.code == 0, result.err
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {(r["arch"], r["lr"], r["seed"]) for r in records} == {
        (arch, lr, seed) for arch in ("transformer", "tmt") for lr in (1e-3, 1e-2) for seed in (0, 1)
    }
    assert len(records) == 8
    for word in ("half=3", "transformer", "±", "accuracy by length", "without order", "solved 1"):
        assert word in result.out


def test_a_second_call_trains_only_what_is_missing(
    tmt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "rows.jsonl"
    train, trained = TaskJob.run, []

    def interrupted(job: TaskJob) -> dict:
        if job.plan.seed == 2 and len(trained) < 3:
            raise KeyboardInterrupt
        trained.append(job.plan.seed)
        return train(job)

    monkeypatch.setattr(TaskJob, "run", interrupted)
    arguments = [*SMALL_COPY, "--seeds=0,1,2", f"--json={file}"]
    result = tmt("tasks", *arguments)
    assert result.code == 130
    assert "accuracy" in result.out
    trained.append(-1)
    again = tmt("tasks", *arguments)
    assert again.code == 0
    assert again.err.count(f"in {file} already, not trained again") == 2
    assert trained == [0, 1, -1, 2]
    assert len(file.read_text().splitlines()) == 3
    assert tmt("tasks", *arguments, "--steps=2", "--seeds=0").code == 0
    assert trained[4:] == [0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["cpy"], "did you mean copy"),
        (["copy", "--arch=trnsformer"], "transformer"),
        (["copy", "--arch=transformer,nothing"], "nothing"),
        (["copy", "--size=halves=3"], "halves"),
        (["copy", "--size=half"], "half"),
        (["copy", "--size=half=-1"], "half=-1"),
        (["copy", "--size=half=wide"], "wide"),
        (["copy", "--set=optim.lr=1"], "optim.lr"),
        (["copy", "--set=model.n_heds=1"], "n_heads"),
        (["copy", "--set=model.vocab_size=1"], "vocab_size"),
        (["copy", "--lr=fast"], "lr='fast'"),
        (["copy", "--lr=0"], "lr=0"),
        (["copy", "--seeds=-1"], "seed=-1"),
        (["copy", "--steps=0"], "steps=0"),
        (["copy", "--preset=tiny"], "tiny"),
        (["copy", "--encoder=runs/x"], "information"),
        (["copy", "--device=nowhere"], "nowhere"),
        (["copy", "--json=/nowhere/rows.jsonl"], "/nowhere/rows.jsonl"),
        (["information", "--encoder=runs/x", "--arch=tmt"], "--arch"),
        (["information", "--encoder=nowhere"], "nowhere"),
        (["information", "--size=length=1"], "length=1"),
    ],
)
def test_mistakes_are_named_before_any_work(
    arguments: list[str], named: str, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(command.Results, "run", lambda results, job: pytest.fail("work was begun"))
    assert named in tmt("tasks", *arguments).complaint


def test_an_encoder_too_short_for_the_text_is_refused(tmt: Callable[..., Result], trained: Path):
    complaint = tmt("tasks", "information", f"--encoder={trained}", "--size=length=100000").complaint
    assert "length=100000" in complaint
