"""Two processes under torchrun train the model that one process trains with twice the batch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tiny_runs import Result, options_of

pytest_plugins = ["command_line"]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "tmt"]
EXACT = ["--precision=fp32", "--steps=6", "--set=train.log_every=1", "--set=train.eval_every=0.5"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*TORCHRUN, *arguments], env=environment, capture_output=True, text=True, timeout=180
    )


def figures(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def test_two_processes_are_one_with_twice_the_batch(
    corpus: Path, train: Callable[..., Result], tmp_path: Path
):
    one, two = tmp_path / "one", tmp_path / "two"
    small = ["--set=optim.ema_decay=0.5"]
    assert train(one, *EXACT, *small, "--batch-size=4", arch="transformer").code == 0
    result = torchrun("train", *options_of("transformer", corpus, two), *EXACT, *small)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("run folder:") == 1
    assert result.stderr.count("parameters in") == 3
    for name, tolerance in {"loss": 1e-4, "valid_nats": 1e-4, "grad_norm": 2e-3}.items():
        assert figures(two, name) == pytest.approx(figures(one, name), rel=tolerance, abs=1e-4), name
    assert figures(two, "tokens") == figures(one, "tokens")
    assert len(figures(two, "loss")) == 6
    weights, expected = (load_file(folder / "model.safetensors") for folder in (two, one))
    for name, tensor in expected.items():
        assert (weights[name] - tensor).abs().max() < 2e-3, name


@pytest.mark.learning
def test_a_model_with_exits_memory_and_dropout_stops_and_goes_on(corpus: Path, tmp_path: Path):
    folder = tmp_path / "run"
    arguments = [*options_of("tmt", corpus, folder), *EXACT, "--set=model.target_depth=0.7"]
    result = torchrun("train", *arguments, "--set=model.dropout=0.1", "--accumulate=2")
    assert result.returncode == 0, result.stderr
    assert sorted({*figures(folder, "tokens")}) == [step * 2 * 2 * 2 * 32 for step in range(1, 7)]
    again = torchrun("train", f"--out={folder}", "--resume", "--device=cpu")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == result.stdout.splitlines()[-1] == f"run folder: {folder}"


@pytest.mark.learning
def test_a_model_of_a_file_is_that_of_one_process(corpus: Path, tmp_path: Path, tmt: Callable[..., Result]):
    mine, one, two = tmp_path / "mine.py", tmp_path / "one", tmp_path / "two"
    assert tmt("new", mine).code == 0
    options = [*EXACT, f"--arch={mine}", "--set=model.d_model=16", "--device=cpu", "--tokenizer=bytes"]
    data = [f"--data={corpus}", "--minutes=null", "--seq-len=32", "--set=train.eval_tokens=64"]
    assert tmt("train", *options, *data, "--batch-size=4", f"--out={one}").code == 0
    result = torchrun("train", *options, *data, "--batch-size=2", f"--out={two}")
    assert result.returncode == 0, result.stderr
    assert figures(two, "loss") == pytest.approx(figures(one, "loss"), rel=1e-4)
