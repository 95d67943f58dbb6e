"""A run goes on with the tokens it began with, and its logs hold every step once."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tiny_runs import Result, text_of
from tmt.run_folder import load_config
from tmt.tokens import TokenStream, write_shard
from tmt.tokens.prepare import TokenSplits
from tmt.tokens.shards import Shard
from tmt.training.log import MetricsLog

pytest_plugins = ["command_line"]


def replace_text(run: Path, text: str, name: str) -> None:
    """Let the run's configuration name another file with that text, as if the old one had been replaced."""
    file = run.parent / name
    file.write_text(text, encoding="utf-8")
    content = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    content["data"]["source"] = str(file)
    (run / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize("kind", ["one letter", "turned round"])
def test_replaced_data_of_equal_length_is_refused(
    kind: str, trained: Path, corpus: Path, tmt: Callable[..., Result]
):
    text = text_of(60)
    other = text.replace("mesh", "mash", 1) if kind == "one letter" else "\n\n".join(text.split("\n\n")[::-1])
    assert len(other) == len(text)
    replace_text(trained, other, "other.txt")
    complaint = tmt("train", f"--out={trained}", "--resume").complaint
    assert "other.txt are not those that" in complaint
    assert f"--init-from {trained}" in complaint


def test_the_same_text_elsewhere_is_the_same(trained: Path, tmt: Callable[..., Result]):
    replace_text(trained, text_of(60), "same.txt")
    assert tmt("train", f"--out={trained}", "--resume", "--device=cpu").code == 0


def test_a_run_that_knows_no_digest_goes_on_over_a_damaged_line(trained: Path, tmt: Callable[..., Result]):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert len(config.pop("corpus")) == 64
    (trained / "config.yaml").write_text(yaml.safe_dump(config))
    assert load_config(trained).corpus is None
    metrics = trained / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(b"\xff\xfe damaged\n" + whole)
    result = tmt("train", f"--out={trained}", "--resume", "--device=cpu")
    assert result.code == 0
    assert "line 1 is damaged" in result.err
    assert metrics.read_bytes() == whole


def splits(folder: Path, *shards: list[int], dtype: Any = np.uint16) -> TokenSplits:
    folder.mkdir()
    files = []
    for index, tokens in enumerate(shards):
        write_shard(folder / f"{index}.bin", np.array(tokens, dtype=dtype))
        files.append(Shard.open(folder / f"{index}.bin"))
    train, held = TokenStream(files[:-1]), TokenStream(files[-1:])
    return TokenSplits(train, held, held, documents={}, bytes={}, kept={})


def test_the_key_is_that_of_the_tokens(tmp_path: Path):
    first = splits(tmp_path / "a", [1, 2, 3], [4], [5, 6]).key
    assert splits(tmp_path / "b", [1, 2, 3], [4], [5, 6]).key == first
    for name, changed in {
        "a token": ([1, 2, 4], [4], [5, 6]),
        "the held-out ones": ([1, 2, 3], [4], [5, 7]),
        "their order": ([2, 1, 3], [4], [5, 6]),
        "the files": ([1, 2], [3, 4], [5, 6]),
        "none": ([1, 2, 3], [], [5, 6]),
    }.items():
        assert splits(tmp_path / name, *changed).key != first


DAMAGES = {
    "no JSON": b"{'step': 1}\n",
    "half a line in the middle": b'{"step": 1, "lo{"step": 2, "loss": 1.0}\n',
    "zeros, as after a power failure": b"\0" * 300 + b"\n",
    "other encoding": b'{"step": 1, "name": "\xff\xfe"}\n',
    "no object": b"17\n",
    "no step": b'{"loss": 1.0}\n',
    "a step in words": b'{"step": "1", "loss": 1.0}\n',
    "a step that is true": b'{"step": true}\n',
    "an empty line": b"\n",
    "deep nesting": b"[" * 100_000 + b"\n",
    "a long number": b'{"step": ' + b"1" * 5000 + b"}\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_passed_over_and_named(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    good = [b'{"step": 1, "loss": 2.0}\n', b'{"step": 2, "loss": NaN}\n']
    (tmp_path / "metrics.jsonl").write_bytes(
        good[0] + DAMAGES[damage] + good[1] + b'{"step": 3, "loss": 1}\n'
    )
    MetricsLog(tmp_path, 2, tensorboard=False).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(good)
    (line,) = capsys.readouterr().err.splitlines()
    assert "metrics.jsonl, line 2 is damaged and is left out" in line
    assert len(line) < 300


def board(folder: Path) -> Counter[tuple[str, int]]:
    """How often TensorBoard holds each figure of each step."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return Counter((tag, e.step) for tag in events.Tags()["scalars"] for e in events.Scalars(tag))


def session(folder: Path, resume: int, steps: range, tensorboard: bool = True) -> None:
    log = MetricsLog(folder, resume, tensorboard)
    for step in steps:
        log.write(step, loss=1 / step)
        if step % 2 == 0:
            log.write(step, valid_nats=2 / step)
    log.close()


@pytest.mark.parametrize("saved", [0, 1, 4, 7])
@pytest.mark.parametrize("before", [True, False])
def test_both_logs_hold_every_step_once_after_any_resume(saved: int, before: bool, tmp_path: Path):
    session(tmp_path, 0, range(1, 8), tensorboard=before)
    session(tmp_path, saved, range(saved + 1, 10))
    session(tmp_path, 9, range(10, 12))
    steps = {("loss", step): 1 for step in range(1, 12)}
    expected = steps | {("valid_nats", step): 1 for step in (2, 4, 6, 8, 10)}
    assert board(tmp_path) == expected
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert Counter((name, line["step"]) for line in lines for name in line if name != "step") == expected


def test_files_of_others_beside_tensorboards_stay(tmp_path: Path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "notes.txt").write_text("mine")
    session(tmp_path, 0, range(1, 3))
    assert (tmp_path / "tensorboard" / "notes.txt").read_text() == "mine"
