"""The benchmark scripts in a checkout that holds their records."""

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
