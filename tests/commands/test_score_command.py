import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.cli import parse
from tmt.config import TrainConfig
from tmt.run_folder import load_config
from tmt.writer_lock import sole_writer

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
    monkeypatch.setattr("tmt.adaptive.audit.WINDOW", 16)
    monkeypatch.setattr("tmt.adaptive.report.AUDIT_TOKENS", 70)  # three chunks
    result = score(*ALL, "--gains", f"--baseline={trained}", "--audit", "--limit=70")
    assert result.code == 0, result.err
    for word in (
        "all but cache",
        "sliding + memory",
        "C3 score before update",
        "every part acted",
        "float64 agrees",
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
        (["--stride=5"], "--stride 5 must divide the window of 16"),
        (["--chunk=24"], "--chunk 24 must be a multiple of the window, 16 tokens"),
        (["--window=9999"], "--window 9999 must be in [1, 8192]"),
        (["--ttt=all", "--ttt-lr=-1"], "ttt_lr=-1.0 must be above zero"),
        (["--ttt=all", "--hash-embedding=-1"], "hash_embedding=-1 must not be negative"),
        (["--cache=-1"], "cache=-1 must not be negative"),
        (["--minutes=-5"], "minutes=-5.0 must be above zero"),
        (["--batch-size=0"], "batch_size=0 must be above zero"),
        (["--ttt-lr=0.1"], "--ttt-lr has no effect: nothing is trained without --ttt; leave it out"),
        (["--ttt-epochs=2"], "--ttt-epochs has no effect"),
        (["--min-match=2"], "--min-match has no effect: nothing is matched without --tap-in"),
        (["--tap-in-weights=fixed"], "--tap-in-weights has no effect"),
        (["--ttt=all", "--gains", "--minutes=1"], "--gains would compare others; take --limit"),
        (["--baseline=x", "--minutes=1"], "--baseline would compare others; take --limit"),
        (["--baseline=x", "--set=model.exits=false"], "--set would change the run and not the baseline"),
        (["--gains"], "--gains has no effect: no part is on"),
        (["--out=/dev/null/x"], "cannot write /dev/null/x"),
        (["--tap-in=document", "--min-match=0"], "min_match"),
        (["--limit=0"], "limit"),
        (["--set=model.memory_anchors=0", "--memory"], "memory"),
    ],
)
def test_mistakes_are_named(arguments: list[str], named: str, score: Callable[..., Result]):
    assert named in score(*arguments).complaint


@pytest.mark.parametrize(
    ("window", "stride"), [(16, 4), (250, 50), (256, 64), (6, 2), (7, 1), (251, 251), (502, 251), (1, 1)]
)
def test_the_usual_stride_divides_any_window(window: int, stride: int, trained: Path):
    options = parse(["score", str(trained), f"--window={window}"])[1]
    assert options.sizes(load_config(trained)) == (window, stride, 16 * window)
    own = replace(load_config(trained), train=TrainConfig(steps=1, seq_len=window))
    assert parse(["score", str(trained)])[1].sizes(own) == (window, stride, 16 * window)


def test_a_window_of_250_is_scored(score: Callable[..., Result]):
    record = record_of(score("--window=250", "--chunk=250", "--json"))
    assert (record["window"], record["stride"]) == (250, 50)


def test_two_cannot_score_into_one_folder(score: Callable[..., Result], tmp_path: Path):
    with sole_writer(tmp_path):
        assert "another process is writing" in score(f"--out={tmp_path}").complaint
