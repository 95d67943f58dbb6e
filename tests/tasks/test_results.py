"""Records that survive an interrupt, and which learning rate is called best."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tmt.errors import InputError
from tmt.tasks.results import Results, summarise
from tmt.tasks.table import text_tables


@dataclass
class Counted:
    """A job that counts its runs."""

    lr: float
    score: float = 0.5
    runs: int = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"arch": "x", "model": {"d": (1, 2)}, "lr": self.lr}

    def run(self) -> dict[str, Any]:
        self.runs += 1
        return {"score": self.score}


def record(
    lr: float, seed: int, valid: float | None, score: float | None = 0.5, **others: Any
) -> dict[str, Any]:
    return {
        "task": "copy", "sizes": {"half": 2}, "arch": "x", "model": {}, "steps": 1, "batch_size": 1, "lr": lr,
        "seed": seed, "valid_score": valid, "score": score, "nats": 1.0, "accuracy": 0.25, "seconds": 2.0,
        "steps_taken": 4, "params": 10, "score_name": "accuracy", "chance": 0.1, "grouped_by": "length",
        "by_load": {"8": {"accuracy": 0.75}, "16": {"accuracy": 0.5}}, **others,
    }  # fmt: skip


def test_what_is_in_the_file_is_found_again(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    first, second = Counted(1e-3), Counted(3e-3)
    results = Results(path)
    assert results.find(first) is None
    written = results.run(first)
    assert results.find(first) == written
    assert Results(path).find(first) == written
    assert Results(path).find(second) is None
    Results(path).run(second)
    assert [json.loads(line)["lr"] for line in path.read_text().splitlines()] == [1e-3, 3e-3]
    assert {"machine", "threads", "torch", "code"} <= written.keys()


def test_without_a_file_nothing_is_written():
    job = Counted(1e-3)
    results = Results(None)
    results.run(job)
    assert results.find(job) is not None


def test_figures_that_are_not_finite_are_null(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    assert Results(path).run(Counted(1e-3, score=math.nan))["score"] is None
    assert json.loads(path.read_text())["score"] is None


def test_a_file_of_something_else_or_nowhere_is_refused(tmp_path: Path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"a": 1}\nnonsense\n')
    with pytest.raises(InputError, match="line 2"):
        Results(path)
    with pytest.raises(InputError, match="cannot write"):
        Results(tmp_path / "missing" / "records.jsonl")


def test_the_best_rate_is_chosen_on_validation_and_none_is_dropped():
    records = [
        record(1e-3, 0, valid=0.6, score=0.1), record(1e-3, 1, valid=0.8, score=0.3),
        record(3e-3, 0, valid=0.5, score=0.9), record(3e-3, 1, valid=0.7, score=0.9),
        record(1e-1, 0, valid=None, score=None),
        record(1e-3, 0, valid=0.1, arch="y"),
    ]  # fmt: skip
    lines = summarise(records)
    assert [(line.first["arch"], line.first["lr"], line.best) for line in lines] == [
        ("x", 1e-3, True), ("x", 3e-3, False), ("x", 1e-1, False), ("y", 1e-3, True),
    ]  # fmt: skip
    mean, half = lines[0].interval("score")
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert math.isnan(lines[2].interval("score")[0])


def test_tables_show_every_rate_and_the_loads_of_the_best():
    overview, loads = text_tables([record(1e-3, 0, valid=0.6), record(3e-3, 0, valid=0.5)])
    assert [column.header for column in overview.columns][:4] == ["model", "params", "lr", "seeds"]
    assert list(overview.columns[2].cells) == ["0.001*", "0.003 "]
    assert list(overview.columns[-1].cells) == ["0.5", "0.5"]
    assert [column.header for column in loads.columns] == ["model", "8", "16"]
    assert loads.row_count == 1
    assert "chance 0.1; *" in str(overview.caption)


def test_the_table_says_what_counting_scores():
    bounds = [dict(floor=0.25, solve=1.0), dict(floor=0.35, solve=1.0)]
    records = [record(1e-3, seed, valid=0.5, **more) for seed, more in enumerate(bounds)]
    overview, _ = text_tables(records)
    assert "chance 0.1, counting without order 0.3, solved 1;" in str(overview.caption)
