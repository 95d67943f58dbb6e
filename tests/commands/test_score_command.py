import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]

ALL = ["--ttt", "all", "--hash-embedding=64", "--tap-in=document", "--cache=64", "--memory"]
QUICK = ["--limit=300", "--window=16", "--chunk=64", "--device=cpu"]


@pytest.fixture
def score(tmt: Callable[..., Result], trained: Path) -> Callable[..., Result]:
    return lambda *arguments: tmt("score", trained, *QUICK, *arguments)


def record_of(result: Result) -> dict:
    assert result.code == 0, result.err
    (line,) = result.out.splitlines()
    return json.loads(line)


def test_static_and_adapted_side_by_side(
    score: Callable[..., Result], tmt: Callable[..., Result], trained: Path
):
    record = record_of(score("--json", *ALL))
    passes = record["passes"]
    assert [*passes] == ["static", "adapted"]
    assert {name: p["tokens"] for name, p in passes.items()} == {"static": 300, "adapted": 300}
    assert [*passes["adapted"]["stages"]] == ["model", "training", "memory", "cache", "tap_in"]
    assert passes["adapted"]["stages"]["tap_in"] == passes["adapted"]["nats"]
    assert (record["stride"], record["chunk"], record["complete"]) == (4, 64, True)
    (line,) = tmt("eval", trained, "--limit=300", "--context=16", "--json", "--device=cpu").out.splitlines()
    static = json.loads(line)
    assert passes["static"]["nats"] == pytest.approx(static["nats"], rel=1e-6)
    assert passes["static"]["bpb"] == pytest.approx(static["bpb"], rel=1e-6)
    ratio = passes["adapted"]["ppl"] / passes["static"]["ppl"]
    assert record["ppl_change"] == pytest.approx(ratio - 1)


def test_gains_baseline_audit_and_tables(
    score: Callable[..., Result], trained: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tmt.adaptive.report.AUDIT_TOKENS", 270)  # three chunks
    result = score(*ALL, "--gains", f"--baseline={trained}", "--audit", "--limit=130")
    assert result.code == 0, result.err
    for word in (
        "all but cache",
        "sliding + memory",
        "C3 score before update",
        "nats/fire",
        "run and baseline",
    ):
        assert word in result.out, word
    assert result.out.count("static") >= 2


def test_json_has_one_object_a_line(score: Callable[..., Result], trained: Path):
    lines = score("--json", f"--baseline={trained}").out.splitlines()
    run, baseline = map(json.loads, lines)
    assert run == baseline | {"passes": run["passes"]}


def test_an_artifact_is_scored_and_the_same_command_goes_on(
    score: Callable[..., Result], tmt: Callable[..., Result], trained: Path, tmp_path: Path
):
    packed = tmp_path / "model.tmt"
    assert tmt("pack", trained, f"--out={packed}", "--tokens=64", "--check=0", "--device=cpu").code == 0
    arguments = ["score", packed, *QUICK, "--ttt=controls", f"--out={tmp_path / 'score'}", "--json"]
    hurried = record_of(tmt(*arguments, "--minutes=1e-9"))
    assert hurried["complete"] is False
    assert hurried["passes"]["adapted"]["tokens"] == hurried["passes"]["static"]["tokens"] == 64
    assert record_of(tmt(*arguments))["passes"]["adapted"]["tokens"] == 300
    assert (tmp_path / "score" / "run" / "adapted" / "targets.bin").stat().st_size == 300 * 10


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--hash-embedding=64"], "--ttt"),
        (["--stride=5"], "stride=5 must divide"),
        (["--chunk=24"], "multiple of the window"),
        (["--window=9999"], "context=9999"),
        (["--ttt=all", "--ttt-lr=-1"], "lr=-1"),
        (["--tap-in=document", "--min-match=0"], "min_match"),
        (["--limit=0"], "limit"),
        (["--set=model.memory_anchors=0", "--memory"], "memory"),
    ],
)
def test_mistakes_are_named(arguments: list[str], named: str, score: Callable[..., Result]):
    assert named in score(*arguments).complaint
