import json
from pathlib import Path
from typing import Any

import pytest

from tmt.commands.evaluate import EvaluateOptions, evaluate
from tmt.errors import InputError


def run(options: dict[str, Any]) -> None:
    evaluate(EvaluateOptions(device="cpu", **options))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """One task of two questions."""
    pytest.importorskip("lm_eval")
    (tmp_path / "data.jsonl").write_text('{"text": "The mesh of", "answer": 0}\n' * 2)
    files = dict(data_files={"test": str(tmp_path / "data.jsonl")}, cache_dir=str(tmp_path / "cache"))
    task = dict(
        task="toy_mesh",
        dataset_path="json",
        dataset_kwargs=files,
        test_split="test",
        output_type="multiple_choice",
        doc_to_text="{{text}}",
        doc_to_choice=["tokens", "gates"],
        doc_to_target="{{answer}}",
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    (tmp_path / "toy_mesh.yaml").write_text(json.dumps(task))
    return str(tmp_path)


@pytest.mark.parametrize("variant", ["transformer", "toeplitz"])
def test_one_json_object_on_one_line(
    variant: str, runs: dict[str, str], folder: str, capsys: pytest.CaptureFixture[str]
):
    run(dict(run=runs[variant], harness="toy_mesh", harness_path=folder, limit=1, json=True))
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["arch"] == variant
    task = record["tasks"]["toy_mesh"]
    assert (task["samples"], task["shots"]) == (1, 0)
    assert task["metrics"]["acc,none"] in (0, 1)
    assert task["metrics"]["acc_stderr,none"] is None  # of a single sample


def test_table(runs: dict[str, str], folder: str, capsys: pytest.CaptureFixture[str]):
    run(dict(run=runs["transformer"], harness="toy_mesh", harness_path=folder, context=20))
    printed = capsys.readouterr().out
    for word in ("transformer in lm-evaluation-harness", "toy_mesh", "acc", "0.0000"):
        assert word in printed


def test_the_missing_package_is_named(runs: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.options.evaluate.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install .*\[eval\]"):
        run(dict(run=runs["transformer"], harness="hellaswag"))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (dict(harness="toy_mesh", data="sotu"), "--data"),
        (dict(harness="toy_mesh", split="valid"), "--split"),
        (dict(harness_path="tasks"), "--harness"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict[str, str], named: str, runs: dict[str, str]):
    with pytest.raises(InputError, match=named):
        run(dict(run=runs["transformer"], **options))
