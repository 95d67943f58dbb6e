"""The benchmark scripts in a checkout that holds their records."""

import json
import sys
from pathlib import Path
from runpy import run_path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return run_path(str(BENCHMARKS / "runs.py"))


def test_what_is_recorded_is_said_and_made_again_when_asked(runs: dict, capsys: pytest.CaptureFixture[str]):
    assert runs["missing"](["a", "b", "c"], {"a", "c"}, False) == ["b"]
    assert capsys.readouterr().err == "recorded already and not made again (--again makes them): a, c\n"
    assert runs["missing"](["a", "b"], {"a"}, True) == ["a", "b"]
    assert runs["missing"](["b"], {"a"}, False) == ["b"]
    assert capsys.readouterr().err == ""


def test_records_name_their_code(runs: dict, tmp_path: Path):
    path = tmp_path / "records.jsonl"
    runs["add_record"](path, {"name": "a"})
    (record,) = runs["read_records"](path)
    assert record["name"] == "a"
    assert record["code"]


def test_a_printed_command_says_why_it_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    record = dict(params=1, nats=1.0, ppl=1.0, bpb=1.0, mean_depth=1.0, flops_per_token=1.0, steps=3, seed=42)
    record |= dict(name="tmt", context=8, stride=8, tokens=9, machine="m")
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["quality.py", str(tmp_path), "--only", "tmt"])
    run_path(str(BENCHMARKS / "quality.py"), run_name="__main__")
    assert "not made again (--again makes them): tmt" in capsys.readouterr().err
    assert "| tmt |" in (tmp_path / "README.md").read_text()
