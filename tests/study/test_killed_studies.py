"""A study is killed and goes on: whatever was done is kept, and the tables come out the same."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.options.study_file import read_study
from tmt.study.table import table_text

pytest_plugins = ["command_line"]

HERE = Path(__file__).parent
PATIENCE = 120.0
"""Seconds that a process is waited for, on the busiest machine."""


def table_of(study_file: Path, folder: Path) -> str:
    """The tables of a folder, the columns of minutes left out."""
    text = table_text(read_study(study_file), folder)
    return re.sub(r"(\| [\d.]+ ){2}\|$", "|", text, flags=re.MULTILINE)


@pytest.mark.learning
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_run_killed_at_ten_moments_gives_the_same_table(study_file: Path, tmp_path: Path):
    command = [sys.executable, HERE / "killed.py", study_file, tmp_path, "fast-1"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(printed.split()[-1]) >= 10
    tables = [table_of(study_file, tmp_path / name) for name in ("whole", "killed")]
    assert "| fast | 1 |" in tables[0]
    assert tables[1] == tables[0]
    assert sorted(path.name for path in (tmp_path / "killed.work").iterdir()) == [
        "fast-1.lock",
        "slow-1.lock",
    ]


def start(study_file: Path, folder: Path, state: Path) -> subprocess.Popen:
    """A study in a process of its own, as far as the first saved state of a run."""
    command = [sys.executable, "-m", "tmt", "study", study_file, f"--out={folder}", f"--work={folder}.work"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not state.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.learning
def test_a_study_is_stopped_and_killed_and_comes_to_its_end(
    study_file: Path, tmp_path: Path, tmt: Callable[..., Result]
):
    """Ctrl-C has the run save its state; after kill -9 its process goes on alone, and is waited for."""
    content = study_file.read_text(encoding="utf-8")
    longer = content.replace("tokens: 256", "tokens: 25600").replace("save_every=1e-9", "save_every=0.2")
    study_file.write_text(longer, encoding="utf-8")
    folder = tmp_path / "study"
    state = tmp_path / "study.work" / "slow-1" / "run" / "last" / "training.safetensors"
    stopped = start(study_file, folder, state)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(PATIENCE) == 130
    assert "stopped at step" in (folder / "slow-1" / "log").read_text(encoding="utf-8")
    record = json.loads((folder / "slow-1" / "record.json").read_text(encoding="utf-8"))
    assert (record["training"], record["failed"]) == ({}, None)
    state.touch()
    before = state.stat().st_mtime_ns
    killed = start(study_file, folder, folder / "study.yaml")
    while state.exists() and state.stat().st_mtime_ns == before:
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    result = tmt("study", study_file, f"--out={folder}", f"--work={folder}.work")
    assert result.code == 0, result.err
    assert len(re.findall(r"^\| (slow|fast) \| 1 \|", result.out, re.MULTILINE)) == 2 * 3
    assert result.out == (folder / "table.md").read_text(encoding="utf-8") + "\n"
    for name in ("slow-1", "fast-1"):
        record = json.loads((folder / name / "record.json").read_text(encoding="utf-8"))
        assert record["training"]["tokens"] == 25600
        assert record["machines"][0]["cores"] == 1 or not hasattr(os, "sched_setaffinity")
    assert not state.exists()
