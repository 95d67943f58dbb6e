"""A tokenizer that rewrites text: what the commands say of the bytes it loses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of text whose lines are indented by 0, 8, …, 40 spaces."""
    path = tmp_path_factory.mktemp("code") / "code.jsonl"
    rows = [
        "\n".join(" " * (8 * n % 48) + f"return gate {i} of {n * i}" for n in range(9)) for i in range(200)
    ]
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("spec", "lossless"), [("sp:288", True), ("bpe:288", True), ("sp:288:nfkc", False)])
def test_what_cannot_be_spelt_is_said(spec: str, lossless: bool, code: Path, tmt: Callable[..., Result]):
    arguments = ("data", f"--data={code}", f"--tokenizer={spec}")
    rows = [json.loads(line) for line in tmt(*arguments, "--json").out.splitlines()]
    raw = sum(len(json.loads(line)["text"]) for line in code.read_text(encoding="utf-8").splitlines())
    assert sum(row["raw_bytes"] for row in rows) == raw
    shown = tmt(*arguments)
    if lossless:
        assert all(row["bytes"] == row["raw_bytes"] and row["spelt"] == 1 for row in rows)
        assert "spell" not in shown.err
        assert "spelt" not in shown.out
    else:
        train = rows[0]
        assert (
            0.4 < train["spelt"] < train["bytes"] / train["raw_bytes"] < 0.6
        )  # a line's end becomes a space
        assert f"can spell {train['spelt']:.1%} of train" in shown.err
        assert f"{train['spelt']:.1%}" in shown.out


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lossy") / "run"


def test_training_says_so(code: Path, lossy: Path, train: Callable[..., Result]):
    trained = train(lossy, f"--data={code}", "--tokenizer=sp:288:nfkc", "--steps=1", arch="transformer")
    assert trained.code == 0, trained.err
    assert "can spell" in trained.err
    assert "tokenizer sp:288:nfkc: 288 ids" in trained.err
    assert "valid: bits/byte of the rewritten text; of the raw text" in trained.out


FEW = ("--device=cpu", "--limit=64", "--split=valid")


def test_evaluation_shows_both_figures(lossy: Path, tmt: Callable[..., Result]):
    plain, raw = (
        json.loads(tmt("eval", lossy, *FEW, "--json", *more).out) for more in ((), ("--raw-bytes",))
    )
    assert (plain["bytes_of"], raw["bytes_of"]) == ("normalised text", "text")
    assert plain["bpb"] * plain["bytes"] == pytest.approx(raw["bpb"] * raw["bytes"])
    assert raw["bpb"] == plain["raw_bpb"] < 0.7 * plain["bpb"]
    shown = tmt("eval", lossy, *FEW)
    for words in ("normalised text", "bits per byte of raw text", f"{plain['raw_bpb']:.4f}"):
        assert words in shown.out
    assert f"can spell {plain['spelt']:.1%} of valid" in shown.err


def test_the_adaptive_score_shows_both_figures(
    lossy: Path, tmt: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "120")
    command = ("score", lossy, *FEW, "--window=16", "--chunk=32", "--out", tmp_path)
    plain = json.loads(tmt(*command, "--json").out)
    scores = plain["passes"]["adapted"]
    assert plain["bytes_of"] == "normalised text"
    assert scores["raw_bpb"] * scores["raw_bytes"] == pytest.approx(scores["bpb"] * scores["bytes"])
    targets = np.fromfile(
        tmp_path / "run" / "adapted" / "targets.bin", dtype=[("nats", "<f8"), ("bytes", "<u2")]
    )
    assert targets["bytes"].sum() == scores["bytes"] < scores["raw_bytes"]
    shown = tmt(*command)
    assert f"{scores['raw_bpb']:.4f}" in shown.out
    assert "can spell" in shown.err
    assert "another model, stream or settings" in tmt(*command, "--raw-bytes").complaint
    raw = json.loads(tmt(*command[:-2], "--raw-bytes", "--json").out)
    assert raw["bytes_of"] == "text"
    assert raw["passes"]["adapted"]["bpb"] == pytest.approx(scores["raw_bpb"])


def test_a_text_too_small_for_the_usual_vocabulary_trains(
    code: Path, train: Callable[..., Result], tmt: Callable[..., Result], tmp_path: Path
):
    trained = train(tmp_path / "run", f"--data={code}", "--tokenizer=auto", "--steps=1", arch="toeplitz")
    assert trained.code == 0, trained.err
    assert "tokenizer auto: " in trained.err
    shown = json.loads(tmt("tokenizer", f"--data={code}", "--json").out)
    assert 257 < shown["vocab_size"] < 4096
    assert f"tokenizer auto: {shown['vocab_size']:,} ids" in trained.err
