"""Tables say what the records say, also those under results/; pictures are drawn from them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_runs import Result
from tmt.errors import InputError
from tmt.options.study_file import read_study
from tmt.study.record import RECORD, Record, settings
from tmt.study.table import TABLE, table_text, write_table

pytest_plugins = ["command_line"]

RESULTS = Path(__file__).parents[2] / "results"
STUDIES = sorted(path.parent for path in RESULTS.rglob("study.yaml"))
CONTENT: dict[str, Any] = dict(
    about="What a mesh is worth.",
    base="dense",
    seeds=[1, 2, 3],
    budget={"tokens": 4096},
    runs={
        "dense": {"arch": "transformer"},
        "mesh": {"arch": "tmt"},
        "slow mesh": {"arch": "tmt", "lr": 0.01},
    },
    evaluations={"near": {"split": "valid"}, "far": {"split": "valid", "context": 1024}},
    compare=["near", "far"],
)
BITS = {"dense": (1.50, 1.52, 1.51), "mesh": (1.40, 1.43, 1.41), "slow mesh": (1.50, 1.51, 1.52)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Records of a study that never ran."""
    path = tmp_path / "2026-01-01_mesh"
    path.mkdir()
    (path / "study.yaml").write_text(yaml.safe_dump(CONTENT, sort_keys=False), encoding="utf-8")
    for job in read_study(path / "study.yaml").jobs:
        bits = BITS[job.name][job.seed - 1]
        result = dict(params=1000, flops_per_token=2e6, mean_depth=1.0, depth_by_class={})
        record = Record(job.name, job.seed, job.options, commits=["abc"], machines=[{"processor": "x"}])
        record.training = dict(steps=2, tokens=4096, elapsed=60.0, core_seconds=30.0, flops=3 * 10**9)
        for factor, evaluation in enumerate(job.evaluations, 1):
            scores = dict(nats=3 * bits, bpb=factor * bits, context=256 * factor, split="valid")
            record.evaluations[evaluation.name] = {
                "settings": settings(evaluation),
                "result": result | scores,
            }
        record.save(path / job.slug)
        lines = [{"step": i, "tokens": 2048 * i, "valid_nats": 5.0 - i} for i in (1, 2)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (path / job.slug / "metrics.jsonl").write_text(text, encoding="utf-8")
    write_table(read_study(path / "study.yaml"), path)
    return path


def test_tables_under_results_are_those_of_their_records():
    for path in STUDIES:
        written = (path / TABLE).read_text(encoding="utf-8")
        assert written == table_text(read_study(path / "study.yaml"), path), path


def row(text: str, table: str, name: str) -> list[str]:
    """Cells of a row of a table."""
    lines = text.partition(f"## {table}\n")[2].partition("##")[0].splitlines()
    (found,) = (line for line in lines if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_table_has_means_spreads_and_verdicts(folder: Path):
    text = (folder / TABLE).read_text(encoding="utf-8")
    assert "4,096 tokens" in text
    assert "for all 4 together" in text
    cost = row(text, "cost, mean over seeds", "mesh")
    assert cost[1:] == ["3", "1,000", "2", "4,096", "3e+09", "2,000,000", "1.00", "0.50"]
    assert row(text, "near", "dense")[1:5] == ["3", "4.5300", "1.5100", "0.0100"]
    assert row(text, "near", "mesh")[-2:] == ["-0.0967 ± 0.0295", "better"]
    assert row(text, "near", "slow mesh")[-1] == "undecided"
    assert row(text, "far", "mesh")[-1] == "better"


def test_a_number_edited_by_hand_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(globals(), "STUDIES", [folder])
    test_tables_under_results_are_those_of_their_records()
    path = folder / TABLE
    path.write_text(path.read_text(encoding="utf-8").replace("1.5100", "1.3100", 1), encoding="utf-8")
    with pytest.raises(AssertionError):
        test_tables_under_results_are_those_of_their_records()


def changed(folder: Path, **changes: Any) -> str:
    """The tables after the study file has changed."""
    text = yaml.safe_dump(CONTENT | changes, sort_keys=False)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return table_text(read_study(folder / "study.yaml"), folder)


def test_more_comparisons_make_wider_intervals(folder: Path):
    widths = []
    for compare in (["near"], ["near", "far"]):
        difference = row(changed(folder, compare=compare), "near", "mesh")[-2]
        widths.append(float(difference.split("±")[1]))
    assert widths[0] < widths[1]


def test_a_contrast_has_a_row(folder: Path):
    contrasts = {"rate": {"slow mesh": 1, "mesh": -1}}
    text = changed(folder, contrasts=contrasts, pooled=True)
    assert row(text, "near", "rate")[-2].startswith("+0.0967 ± ")
    assert "for all 6 together" in text


def test_what_failed_or_is_missing_is_said(folder: Path):
    (folder / "mesh-1" / RECORD).unlink()
    path = folder / "dense-2" / RECORD
    record = json.loads(path.read_text(encoding="utf-8")) | {
        "failed": "the loss became nan",
        "evaluations": {},
    }
    path.write_text(json.dumps(record), encoding="utf-8")
    text = table_text(read_study(folder / "study.yaml"), folder)
    assert "Failed: dense, seed 2: the loss became nan." in text
    assert "Not done yet: 1 runs." in text
    assert row(text, "near", "mesh")[1] == "2"


def test_a_record_of_another_study_is_refused(folder: Path):
    with pytest.raises(InputError, match=r"dense-1/record\.json was made with other options"):
        changed(folder, budget={"tokens": 8192})
    with pytest.raises(InputError, match=r"record\.json was made with other evaluation 'far'"):
        changed(folder, evaluations={"near": {"split": "valid"}, "far": {"split": "valid", "context": 512}})


def test_a_score_that_comes_too_late_is_refused(folder: Path, tmt: Callable[..., Result]):
    changed(folder)
    evaluations = CONTENT["evaluations"] | {"farther": {"context": 2048}}
    path = folder.parent / "more.yaml"
    path.write_text(yaml.safe_dump(CONTENT | {"evaluations": evaluations}), encoding="utf-8")
    complaint = tmt("study", path, f"--out={folder}", f"--work={folder.parent / 'work'}").complaint
    assert "dense-1 has no weights left for 'farther'" in complaint
    assert "farther" not in (folder / "study.yaml").read_text(encoding="utf-8")


def test_the_command_writes_tables_and_pictures_again(folder: Path, tmt: Callable[..., Result]):
    text = (folder / TABLE).read_text(encoding="utf-8")
    (folder / TABLE).unlink()
    result = tmt("study", folder, "--table", "--plot")
    assert result.out == text + "\n"
    assert (folder / TABLE).read_text(encoding="utf-8") == text
    for name, words in (("differences", "slow mesh"), ("contexts", "512"), ("curves", "tokens trained on")):
        picture = (folder / f"{name}.svg").read_text(encoding="utf-8")
        assert f"<!-- {words} -->" in picture


def test_a_dry_run_says_what_is_left(study_file: Path, tmp_path: Path, tmt: Callable[..., Result]):
    result = tmt("study", study_file, f"--out={tmp_path / 'none'}", "--dry-run")
    assert result.code == 0
    assert "2 of 2 runs are left" in result.out
    assert [line.split()[:3] for line in result.out.splitlines() if " 256 " in line] == [
        ["slow", "1", "256"],
        ["fast", "1", "256"],
    ]
    assert not (tmp_path / "none").exists()
