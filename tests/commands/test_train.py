"""`tmt train`: what a run folder holds, and what the options do."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.checkpoint import load_run
from tmt.run_folder import load_config

pytest_plugins = ["command_line"]

FIGURES = {
    "step",
    "tokens",
    "elapsed",
    "core_seconds",
    "flops",
    "loss",
    "lr",
    "grad_norm",
    "tokens_per_second",
    "mean_depth",
}


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.shows("TrainOptions", "out")
@pytest.mark.parametrize("arch", ["tmt", "transformer"])
def test_a_run_folder_is_complete(arch: str, train: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "deep" / "run"
    result = train(folder, "--steps=6", "--accumulate=2", "--set=train.log_every=3", arch=arch)
    assert result.code == 0
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        ".lock", "config.yaml", "tokenizer.json", "model.safetensors", "metrics.jsonl",
        "last/training.safetensors",
    }  # fmt: skip
    steps = [line for line in metrics(folder) if "loss" in line]
    assert [line["step"] for line in steps] == [3, 6]
    extra = {"memory_rank", "memory_usage"} if arch == "tmt" else set()
    assert all(line.keys() == FIGURES | extra for line in steps)
    assert [line["tokens"] for line in steps] == [3 * 2 * 2 * 32, 6 * 2 * 2 * 32]
    assert 0 < steps[0]["elapsed"] <= steps[1]["elapsed"]
    assert (steps[0]["mean_depth"] == 1) or arch == "tmt"
    scores = [line for line in metrics(folder) if "valid_nats" in line]
    assert [line["step"] for line in scores] == [1, 2, 3, 4, 5, 6]
    for word in (
        "valid",
        "test",
        "PPL",
        "bits/byte",
        "FLOPs/token",
        "no exits",
        "sample:",
        f"run folder: {folder}",
    ):
        assert word in result.out
    assert load_run(folder).config.train.accumulate == 2


def test_the_same_command_makes_the_same_run(train: Callable[..., Result], tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert train(tmp_path / name, "--steps=3", f"--seed={seed}", "--set=model.dropout=0.2").code == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.shows("TrainOptions", "init_from")
def test_it_starts_from_the_weights_and_tokenizer_of_another_run(
    trained: Path, train: Callable[..., Result], tmp_path: Path
):
    folder = tmp_path / "next"
    frozen = ["--lr=1e-12", "--set=optim.adamw_lr=1e-12", "--set=optim.weight_decay=0"]
    assert train(folder, "--steps=1", f"--init-from={trained}", *frozen).code == 0
    config = load_config(folder)
    assert (config.init_from, config.model) == (str(trained), load_config(trained).model)
    assert (folder / "tokenizer.json").read_text() == (trained / "tokenizer.json").read_text()
    start, end = (dict(load_run(path).model.named_parameters()) for path in (trained, folder))
    for name in start:
        assert (start[name] - end[name]).abs().max() < 1e-6, name


def test_overrides_apply_to_the_model_that_is_started_from(
    trained: Path, train: Callable[..., Result], tmp_path: Path
):
    folder = tmp_path / "next"
    assert train(folder, "--steps=1", f"--init-from={trained}", "--set=model.graph_k=3").code == 0
    assert load_config(folder).model.graph_k == 3
    wider = train(tmp_path / "wide", "--steps=1", f"--init-from={trained}", "--set=model.routing_dim=64")
    assert wider.code == 2
    assert "has shape" in wider.err.splitlines()[-1]


@pytest.mark.shows("TrainOptions", "tensorboard")
def test_tensorboard_files_when_asked(train: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "run"
    assert train(folder, "--steps=2", "--tensorboard", "--set=train.log_every=1").code == 0
    (events,) = (folder / "tensorboard").iterdir()
    content = events.read_bytes()
    assert all(name in content for name in (b"loss", b"valid_nats", b"tokens_per_second"))


def test_tensorboard_is_missed_before_the_work_begins(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    complaint = train(tmp_path / "run", "--steps=2", "--tensorboard").complaint
    assert "temporalmesh-transformer[track]" in complaint
    assert not (tmp_path / "run").exists()


def test_the_summary_scores_the_best_weights_not_the_last(train: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "run"
    diverging = [
        "--lr=100",
        "--set=optim.adamw_lr=20",
        "--set=optim.ema_decay=0",
        "--set=train.eval_tokens=32",
    ]
    result = train(folder, "--steps=4", *diverging, arch="transformer")
    scores = [line["valid_nats"] for line in metrics(folder) if "valid_nats" in line]
    assert min(scores) < scores[-1]
    (row,) = [line for line in result.out.splitlines() if line.split()[:1] == ["valid"]]
    assert float(row.split()[1]) == pytest.approx(min(scores), abs=1e-3)


def test_the_summary_scores_a_twentieth_of_what_was_trained_on(train: Callable[..., Result], tmp_path: Path):
    result = train(tmp_path / "run", "--steps=5", "--accumulate=4", "--seq-len=32", arch="transformer")
    scored = {line.split(":")[0]: line for line in result.out.splitlines() if ": scored " in line}
    assert scored.keys() == {"valid", "test"}
    for line in scored.values():
        assert f"scored {5 * 4 * 2 * 32 // 20} of " in line
        whole = int(line.split(" of ")[1].split(" ")[0].replace(",", ""))
        assert f"tokens of the split ({64 / whole:.1%})" in line


def test_the_summary_scores_a_window_at_least(train: Callable[..., Result], tmp_path: Path):
    result = train(tmp_path / "run", "--steps=1", arch="transformer")
    assert "valid: scored 32 of " in result.out
