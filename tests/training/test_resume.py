"""A run that stops and goes on is the run that never stopped, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import torch

from tiny_runs import Result, options_of
from tmt.cli import main
from tmt.training.loop import Trainer
from tmt.training.state import load_state

pytest_plugins = ["command_line"]

STEPS = {"tmt": 24, "transformer": 7, "toeplitz": 7}
"""A training in a process of its own is long enough to be caught in the middle."""
EXACT = ["--accumulate=2", "--set=model.dropout=0.1", "--set=train.log_every=1"]
EXITS = {"tmt": ["--set=model.target_depth=0.7"], "transformer": [], "toeplitz": []}
TIMES = {"elapsed", "core_seconds", "tokens_per_second"}


STOPS = [("transformer", "first"), ("transformer", "last"), ("tmt", "middle"), ("toeplitz", "middle")]


@pytest.fixture(scope="module", params=STEPS)
def arch(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def options(arch: str) -> list[str]:
    return [f"--steps={STEPS[arch]}", *EXACT, *EXITS[arch]]


@pytest.fixture(scope="module")
def uninterrupted(
    arch: str, options: list[str], corpus: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(["train", *options_of(arch, corpus, folder), *options]) == 0
    return folder


def figures(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested dicts and lists, by its path."""
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, item in items for name, leaf in flat(item, f"{path}.{key}").items()}
    return {path: value}


def assert_same_run(folder: Path, expected: Path) -> None:
    assert figures(folder) == figures(expected)
    assert (folder / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    own, other = (flat(load_state(Trainer.state_path(f))) for f in (folder, expected))
    assert own.keys() == other.keys()
    assert any("average" in name for name in own)
    assert any("optimizers.1" in name for name in own)
    for name in own.keys() - {".elapsed", ".core_seconds", ".threads"}:
        same = (
            torch.equal(own[name], other[name])
            if isinstance(own[name], torch.Tensor)
            else own[name] == other[name]
        )
        assert same, name


@pytest.mark.shows("TrainOptions", "resume")
@pytest.mark.parametrize(("arch", "part"), STOPS, indirect=["arch"])
def test_stopped_in_this_process(
    part: str,
    arch: str,
    options: list[str],
    uninterrupted: Path,
    train: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    step, stop = Trainer.take_step, {"first": 1, "middle": 4, "last": STEPS[arch]}[part]

    def step_and_interrupt(trainer: Trainer):
        if trainer.step + 1 == stop:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "take_step", step_and_interrupt)
        stopped = train(folder, *options, arch=arch)
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == (
        f"stopped at step {stop}; go on with: tmt train --out {folder} --resume"
    )
    assert stopped.out == ""
    torch.manual_seed(999)
    assert train(folder, "--resume", arch=arch).code == 0
    assert_same_run(folder, uninterrupted)


in_a_process_of_its_own = pytest.mark.parametrize("arch", ["tmt"], indirect=True)


def start(arguments: list[str], folder: Path, lines: int) -> subprocess.Popen[str]:
    """`tmt train` in a process of its own, as far as so many lines of metrics.jsonl."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tmt", "train", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    metrics = folder / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() or metrics.read_text().count("\n") < lines:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


@in_a_process_of_its_own
def test_ctrl_c(
    arch: str,
    options: list[str],
    uninterrupted: Path,
    corpus: Path,
    train: Callable[..., Result],
    tmp_path: Path,
):
    folder = tmp_path / "run"
    process = start([*options_of(arch, corpus, folder), *options], folder, lines=3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"go on with: tmt train --out {folder} --resume" in err
    assert "Traceback" not in err
    assert 0 < len(figures(folder)) < len(figures(uninterrupted))
    assert train(folder, "--resume", arch=arch).code == 0
    assert_same_run(folder, uninterrupted)


@in_a_process_of_its_own
def test_killed(
    arch: str,
    options: list[str],
    uninterrupted: Path,
    corpus: Path,
    train: Callable[..., Result],
    tmp_path: Path,
):
    folder = tmp_path / "run"
    process = start([*options_of(arch, corpus, folder), *options, "--set=train.save_every=1e-6"], folder, 6)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert load_state(Trainer.state_path(folder))["step"] > 1
    assert train(folder, "--resume", arch=arch).code == 0
    assert_same_run(folder, uninterrupted)


def test_killed_before_the_first_save(trained: Path, train: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "run"
    assert train(folder, "--steps=3", f"--init-from={trained}").code == 0
    expected = (folder / "model.safetensors").read_bytes(), figures(folder)
    rmtree(folder / "last")
    (folder / "model.safetensors").unlink()
    assert train(folder, "--resume").code == 0
    assert ((folder / "model.safetensors").read_bytes(), figures(folder)) == expected


def test_a_line_of_metrics_that_was_cut_off_is_written_anew(
    uninterrupted: Path, train: Callable[..., Result], trained: Path
):
    metrics = trained / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole + '{"step": 3, "valid_na')
    assert train(trained, "--resume").code == 0
    assert metrics.read_text() == whole


CHANGES = {
    "--seq-len=16": "train.seq_len was 32, now 16",
    "--seed=7": "train.seed was 42, now 7",
    "--preset=small": "preset was 'nano', now 'small'",
    "--recipe=paper": "recipe was 'modern', now 'paper'",
    "--lr=0.5": "optim.lr was 0.02, now 0.5",
    "--tokenizer=bpe:300": "data.tokenizer was 'bytes', now 'bpe:300'",
    "--data=sotu": "data.source was",
    "--init-from=elsewhere": "init_from was None, now",
    "--set=model.d_model=64": "model.d_model was 32, now 64",
    "--set=optim.momentum=0.5": "optim.momentum was 0.95, now 0.5",
    "--set=train.eval_every=0.5": "train.eval_every was 0.1, now 0.5",
    "--config=recipe.yaml": "model.graph_k was 8, now 5",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_changed_options_are_refused(
    change: str, trained: Path, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(trained.parent)
    Path("recipe.yaml").write_text("arch: tmt\nmodel:\n  graph_k: 5\n")
    complaint = tmt("train", f"--out={trained}", "--resume", change).complaint
    assert CHANGES[change] in complaint
    assert "leave the option out" in complaint


def test_unchanged_options_are_no_obstacle(trained: Path, train: Callable[..., Result], tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("arch: tmt\nsteps: 2\nmodel:\n  graph_k: 8\n")
    before = load_state(Trainer.state_path(trained))
    result = train(trained, "--resume", f"--config={recipe}", "--set=model.dense_layers=[]", "--lr=0.02")
    assert result.code == 0
    assert load_state(Trainer.state_path(trained))["step"] == before["step"] == 2


def test_there_is_nothing_to_resume(tmt: Callable[..., Result], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert "no run folder" in tmt("train", "--resume", f"--out={tmp_path / 'missing'}").complaint
    assert "has no config.yaml" in tmt("train", "--resume", f"--out={tmp_path / 'empty'}").complaint
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
