"""`tmt data`: what a corpus holds and how it splits."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]

SPLITS = ["train", "valid", "test"]


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_json_lines_account_for_every_byte(tokenizer: str, corpus: Path, tmt: Callable[..., Result]):
    result = tmt("data", f"--data={corpus}", f"--tokenizer={tokenizer}", "--json")
    rows = [json.loads(line) for line in result.out.splitlines()]
    assert [row["split"] for row in rows] == SPLITS
    assert {row["data"] for row in rows} == {str(corpus)}
    assert sum(row["documents"] for row in rows) == 60
    total = sum(row["bytes"] for row in rows)
    assert 0.97 * corpus.stat().st_size < total <= corpus.stat().st_size
    for row in rows:
        assert row["tokens"] == row["bytes"] + row["documents"] or tokenizer != "bytes"
        assert row["documents"] < row["tokens"] <= row["bytes"] + row["documents"]


def test_the_table(corpus: Path, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")
    printed = tmt("data", f"--data={corpus}", "--tokenizer=bytes").out
    assert all(word in printed for word in (*SPLITS, "documents", "bytes/token", "54"))


def test_options_reach_the_corpus(tmt: Callable[..., Result], tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps({"body": f"{i} " + "word " * 40}) + "\n" for i in range(40)))
    arguments = ("data", f"--data={file}", "--tokenizer=bytes", "--json")
    assert "body" in tmt(*arguments).complaint
    whole, part = (
        sum(
            json.loads(line)["bytes"] for line in tmt(*arguments, "--text-field=body", *more).out.splitlines()
        )
        for more in ([], ["--max-bytes=3000"])
    )
    assert part <= 3000 < whole


def test_the_second_time_nothing_is_tokenised(
    corpus: Path, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
):
    arguments = ("data", f"--data={corpus}", "--tokenizer=bpe:310", "--json")
    first = tmt(*arguments)
    monkeypatch.setattr(sys.modules["tmt.tokens.prepare"], "_build", None)
    monkeypatch.setattr(sys.modules["tmt.tokens.make"], "train_bpe", None)
    assert tmt(*arguments).out == first.out
