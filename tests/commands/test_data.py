"""`tmt data`: what a corpus holds and how it splits."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from tiny_runs import Result
from tmt.cli import main

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
    assert all(word in printed for word in (*SPLITS, "documents", "bytes/token", "text", "54"))


def test_options_reach_the_corpus(tmt: Callable[..., Result], tmp_path: Path):
    file = tmp_path / "lines.jsonl"
    file.write_text(
        "".join(json.dumps({"body": f"{i} " + "word " * 40}) + "\n" for i in range(40)), encoding="utf-8"
    )
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


def test_what_was_read_is_said_again_from_the_cache(tmt: Callable[..., Result], tmp_path: Path):
    folder = tmp_path / "f"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / ".ipynb_checkpoints" / "1-checkpoint.txt").write_text("line 1 old", encoding="utf-8")
    for i in range(30):
        (folder / f"{i}.txt").write_text(f"line {i} " * 30, encoding="utf-8")
    (folder / "rows.jsonl").write_text('{"text": "\\ud83d"}\n{"text": null}\n', encoding="utf-8")
    arguments = ("data", f"--data={folder}", "--tokenizer=bytes", "--json")
    assert "rows.jsonl, line 1: the text holds a lone surrogate" in tmt(*arguments).complaint
    first, again = (tmt(*arguments, "--on-bad-row=skip") for _ in range(2))
    assert sum(json.loads(row)["documents"] for row in first.out.splitlines()) == 30
    assert first.err.splitlines() == [
        f"folder {folder}: 31 files (1 .jsonl, 30 .txt); passed over 1: .ipynb_checkpoints (hidden)",
        f"bad rows left out: 1 not UTF-8; the first: {folder}/rows.jsonl, line 1: the text holds a lone "
        "surrogate, which UTF-8 cannot express",
        "rows without text (null): 1",
    ]
    assert again == first
    replaced = tmt(*arguments, "--on-bad-row=replace")
    assert sum(json.loads(row)["documents"] for row in replaced.out.splitlines()) == 31


def test_what_cannot_be_said_of_text_is_refused(tmt: Callable[..., Result], tmp_path: Path):
    assert "separator must not be empty" in tmt("data", "--separator=").complaint
    assert "unknown on_bad_row 'drop'" in tmt("data", "--on-bad-row=drop").complaint


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, cache: Path, corpus: Path) -> Path:
    """A folder of token files of SentencePiece pieces."""
    folder = tmp_path_factory.mktemp("shards") / "mesh"
    assert main(["data", f"--data={corpus}", "--tokenizer=sp:300:nfkc", f"--shards={folder}"]) == 0
    return folder


def test_token_files_say_of_themselves_what_the_text_says(
    shards: Path, corpus: Path, tmt: Callable[..., Result]
):
    text, tokens = (
        [json.loads(line) for line in tmt("data", "--json", *arguments).out.splitlines()]
        for arguments in ((f"--data={corpus}", "--tokenizer=sp:300:nfkc"), (f"--data={shards}",))
    )
    assert [row["split"] for row in tokens] == SPLITS
    assert {row["data"] for row in tokens} == {str(shards)}
    for own, other in zip(tokens, text, strict=True):
        for key in ("documents", "tokens"):
            assert own[key] == other[key]
    for own, other in zip(tokens, text, strict=True):
        assert own["bytes"] == other["bytes"] < other["raw_bytes"]
        assert own["bytes_of"] == other["bytes_of"] == "normalised text"
        if own["split"] == "train":
            assert own["raw_bytes"] is own["spelt"] is None
        else:
            assert own["raw_bytes"] == other["raw_bytes"]
            assert 1 > own["spelt"] >= other["spelt"] > 0.98


@pytest.mark.slow
def test_every_command_takes_token_files(
    shards: Path, tmt: Callable[..., Result], train: Callable[..., Result], tmp_path: Path
):
    folder = tmp_path / "run"
    settings = (f"--data={shards}", "--tokenizer=auto", "--batch-size=2", "--seq-len=32")
    assert train(folder, *settings, "--steps=2", arch="toeplitz").code == 0
    assert (folder / "tokenizer.model").read_bytes() == (shards / "tokenizer.model").read_bytes()
    assert tmt("train", f"--out={folder}", "--resume", "--device=cpu").code == 0
    record = json.loads(tmt("eval", folder, "--json", "--device=cpu", "--limit=50").out)
    assert (record["data"], record["split"], record["bytes_of"]) == (
        str(shards),
        "test",
        "normalised text",
    )
    assert tmt("pack", folder, "--tokens=64", "--check=64", "--limit=null", "--device=cpu").code == 0
    assert tmt("convert", folder, "--rank=2", "--tokens=64").code == 0


@pytest.mark.slow
def test_the_test_split_of_files_without_one(
    shards: Path, train: Callable[..., Result], tmt: Callable[..., Result], tmp_path: Path
):
    copy = copytree(shards, tmp_path / "shards", ignore=ignore_patterns("*_test_*"))
    told = tmt("data", f"--data={copy}", "--json")
    assert [json.loads(line)["split"] for line in told.out.splitlines()] == ["train", "valid"]
    assert "the test split is the validation split" in told.err
    trained = train(tmp_path / "run", f"--data={copy}", "--tokenizer=auto", "--steps=1", arch="transformer")
    assert "test: the validation split" in trained.err
    result = tmt("eval", tmp_path / "run", "--json", "--device=cpu", "--limit=50")
    assert json.loads(result.out)["split"] == "valid"
    assert "no test files" in result.err


def test_held_out_files_alone_can_be_looked_at_and_scored(
    shards: Path, trained: Path, tmt: Callable[..., Result], train: Callable[..., Result], tmp_path: Path
):
    held_out = tmp_path / "held-out"
    bytes_of = ("--tokenizer=bytes", f"--shards={held_out}")
    assert tmt("data", f"--data={tmp_path / 'text.txt'}", *bytes_of).code == 2
    (tmp_path / "text.txt").write_text("".join(f"line {i} of a text\n" for i in range(900)), encoding="utf-8")
    assert tmt("data", f"--data={tmp_path / 'text.txt'}", *bytes_of).code == 0
    for file in (*held_out.glob("*_train_*"), *held_out.glob("*_test_*")):
        file.unlink()
    told = tmt("data", f"--data={held_out}", "--json")
    assert [json.loads(line)["split"] for line in told.out.splitlines()] == ["valid"]
    scored = tmt("eval", trained, f"--data={held_out}", "--json", "--device=cpu", "--limit=50")
    assert json.loads(scored.out)["split"] == "valid"
    refused = train(tmp_path / "run", f"--data={held_out}", "--tokenizer=auto", "--steps=1")
    assert "the train split of" in refused.complaint


def test_a_run_is_not_scored_on_tokens_of_another_tokenizer(
    shards: Path, trained: Path, tmt: Callable[..., Result]
):
    assert "not the one in use" in tmt("eval", trained, f"--data={shards}", "--device=cpu").complaint
