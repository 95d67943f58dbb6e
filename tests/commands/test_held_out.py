"""A held-out text is scored whole; a run's own corpus by its splits, under whatever name it comes."""

import json
from pathlib import Path
from random import Random

import pytest

from tiny_models import BYTES
from tmt.commands.evaluate import EvaluateOptions, evaluate
from tmt.commands.score import score
from tmt.errors import InputError
from tmt.options.score import ScoreOptions
from tmt.tokens import open_source, write_shards

pytest_plugins = ["command_line"]


def text(documents: int, seed: int) -> str:
    random = Random(seed)
    words = ["held", "out", "text", "that", "no", "run", "saw", "naïve"]
    return "\n<|endoftext|>\n".join(
        " ".join(random.choices(words, k=12)) + f" {i}." for i in range(documents)
    )


def evaluated(capsys: pytest.CaptureFixture[str], run: str, **options) -> dict:
    capsys.readouterr()
    evaluate(EvaluateOptions(run=run, json=True, device="cpu", **options))
    return json.loads(capsys.readouterr().out)


def scored(capsys: pytest.CaptureFixture[str], run: str, **options) -> dict:
    capsys.readouterr()
    score(ScoreOptions(run=run, json=True, device="cpu", window=16, chunk=64, **options))
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("documents", [1, 2, 50])
@pytest.mark.parametrize("measure", [evaluated, scored])
def test_all_of_a_text_that_the_run_never_saw_is_scored(
    documents: int, measure, runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    mine = tmp_path / "mine.txt"
    mine.write_text(text(documents, 1), encoding="utf-8")
    record = measure(capsys, runs["transformer"], data=str(mine))
    contents = text(documents, 1).split("<|endoftext|>")
    size = sum(len(document.strip("\n").encode()) for document in contents)
    scores = record["passes"]["adapted"] if measure is scored else record
    assert size <= scores["bytes"] == record["split_bytes"] <= size + 2 * documents
    assert scores["tokens"] == record["split_tokens"] == record["split_bytes"] + documents - 1
    if measure is scored:
        assert record["data"] == f"all of {mine}"
    else:
        assert (record["split"], record["data"]) == ("all", str(mine))


@pytest.mark.parametrize("measure", [EvaluateOptions, ScoreOptions])
def test_what_was_read_of_a_folder_is_said(
    measure, runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mine.txt").write_text(text(9, 1), encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"png")
    options = measure(run=runs["transformer"], data=str(tmp_path), device="cpu", limit=64)
    evaluate(options) if measure is EvaluateOptions else score(options)
    assert "picture.png" in capsys.readouterr().err


def test_documents_come_uncut_and_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMT_CACHE", str(tmp_path / "cache"))
    mine = tmp_path / "mine.txt"
    documents = [f"{i} {'x' * 3000}" for i in range(7)]
    mine.write_text("\f".join(documents), encoding="utf-8")
    splits = open_source(str(mine)).whole(BYTES)
    assert splits.documents == {"all": 7}
    assert splits.bytes == {"all": sum(map(len, documents))}
    ids = splits.all[:].tolist()
    assert bytes(255 if token == BYTES.eot_id else token for token in ids).split(b"\xff")[1:] == [
        document.encode() for document in documents
    ]


def test_a_copy_of_the_own_corpus_is_the_own_corpus(
    runs: dict[str, str], corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "moved.txt"
    copy.write_bytes(corpus_file.read_bytes())
    own = evaluated(capsys, runs["plain"])
    again = evaluated(capsys, runs["plain"], data=str(copy))
    assert again == own | {"data": str(copy)}
    assert again["split"] == "test"
    copy.write_bytes(corpus_file.read_bytes() + b"One more line. ")
    assert evaluated(capsys, runs["plain"], data=str(copy))["split"] == "all"


def test_the_own_corpus_is_known_where_it_is_gone(
    tmt, train, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Also where a run read the beginning only."""
    source, run = tmp_path / "here.txt", tmp_path / "run"
    source.write_bytes(corpus.read_bytes())
    assert train(run, "--steps=1", f"--data={source}", "--max-bytes=9000").code == 0
    source.rename(tmp_path / "there.txt")
    moved = evaluated(capsys, str(run), data=str(tmp_path / "there.txt"))
    assert moved["split"] == "test"
    assert moved["split_bytes"] < 1000
    whole = evaluated(capsys, str(run), data=str(tmp_path / "there.txt"), split="all")
    assert whole["split_bytes"] == 9000


def test_every_part_can_be_asked_for(
    runs: dict[str, str], corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole = evaluated(capsys, runs["plain"], split="all", limit=50)
    parts = [evaluated(capsys, runs["plain"], split=part, limit=50) for part in ("train", "valid", "test")]
    assert whole["split_bytes"] == corpus_file.stat().st_size == sum(part["split_bytes"] for part in parts)
    mine = tmp_path / "mine.txt"
    mine.write_text(text(50, 2), encoding="utf-8")
    assert 0 < evaluated(capsys, runs["plain"], data=str(mine), split="test")["split_bytes"] < 1000
    mine.write_text("Short.", encoding="utf-8")
    with pytest.raises(InputError, match="too short"):
        evaluated(capsys, runs["plain"], data=str(mine), split="test")


def test_the_report_says_how_many_bytes_of_how_many(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    mine = tmp_path / "mine.txt"
    mine.write_text("abcdefghij" * 20, encoding="utf-8")
    evaluate(EvaluateOptions(run=runs["plain"], device="cpu", data=str(mine), limit=50))
    printed = capsys.readouterr().out
    assert "50 of 200 (25.0%)" in printed
    assert "all of" in printed
    score(ScoreOptions(run=runs["plain"], device="cpu", data=str(mine), limit=50, window=16, chunk=64))
    assert "50 of 200 (25.0%)" in " ".join(capsys.readouterr().out.split())


def test_token_files_keep_their_splits_and_held_out_ones_alone_will_do(
    runs: dict[str, str], corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "shards"
    write_shards(open_source(str(corpus_file)).tokens(BYTES), BYTES, folder, "web")
    record = evaluated(capsys, runs["plain"], data=str(folder))
    assert (record["split"], record["split_bytes"]) == (
        "test",
        evaluated(capsys, runs["plain"])["split_bytes"],
    )
    assert evaluated(capsys, runs["plain"], data=str(folder), split="all", limit=9)["split_bytes"] == (
        corpus_file.stat().st_size
    )
    for file in (*folder.glob("*_train_*"), *folder.glob("*_test_*")):
        file.unlink()
    record = evaluated(capsys, runs["plain"], data=str(folder))
    assert record["split"] == "valid"
    assert record["depth_by_class"]["frequent"]["tokens"] > 0


TRAIN = "".join(f"Line {i} of what is trained on, and a little more.\n\n" for i in range(200))


@pytest.fixture
def held(tmp_path: Path) -> dict[str, Path]:
    paths = {
        "train": tmp_path / "train.txt",
        "valid": tmp_path / "valid.txt",
        "test": tmp_path / "more" / "a.txt",
    }
    paths["test"].parent.mkdir()
    for name, content in (
        ("train", TRAIN),
        ("valid", "Validation. " * 20),
        ("test", "A test, no more. " * 20),
    ):
        paths[name].write_text(content, encoding="utf-8")
    return paths


def sizes(printed: str) -> dict[str, int]:
    rows = [line.split() for line in printed.splitlines() if "bytes" in line and "documents" in line]
    return {row[0].rstrip(":"): int(row[-2].replace(",", "")) for row in rows}


@pytest.mark.shows("DataConfig", "valid", "test")
@pytest.mark.shows("TrainOptions", "valid_data", "test_data")
@pytest.mark.parametrize("given", [("valid",), ("test",), ("valid", "test")])
def test_texts_become_splits(given: tuple[str, ...], held: dict[str, Path], train, tmp_path: Path, capsys):
    """What is not given stays the corpus's own; all else of it is trained on."""
    named = {"valid": held["valid"], "test": held["test"].parent}
    result = train(
        tmp_path / "run",
        f"--data={held['train']}",
        *(f"--{split}-data={named[split]}" for split in given),
        "--steps=1",
        "--max-bytes=9000",
    )
    assert result.code == 0, result.err
    found = sizes(result.err)
    for split in ("valid", "test"):
        if split in given:
            assert found[split] == held[split].stat().st_size
        else:
            assert 300 < found[split] < 600
    assert found["train"] == 9000 - sum(found[split] for split in ("valid", "test") if split not in given)
    record = evaluated(capsys, str(tmp_path / "run"), split=given[0])
    assert record["split_bytes"] == held[given[0]].stat().st_size


def test_a_changed_held_out_text_is_no_resumption(held: dict[str, Path], train, tmp_path: Path):
    options = [f"--data={held['train']}", f"--valid-data={held['valid']}", "--steps=1"]
    assert train(tmp_path / "run", *options).code == 0
    held["valid"].write_text("Another one. " * 20, encoding="utf-8")
    assert "not those" in train(tmp_path / "run", *options, "--resume").complaint


@pytest.mark.parametrize("option", ["valid", "test"])
def test_a_held_out_text_that_cannot_be_used_is_named(
    option: str, held: dict[str, Path], train, corpus: Path, tmp_path: Path
):
    named = f"--{option}-data={tmp_path / 'nowhere.txt'}"
    assert "nowhere.txt" in train(tmp_path / "run", named, "--steps=1").complaint
    held["valid"].write_text(" \n", encoding="utf-8")
    named = f"--{option}-data={held['valid']}"
    assert "holds no text" in train(tmp_path / "run", named, "--steps=1").complaint
    write_shards(open_source(str(corpus)).tokens(BYTES), BYTES, tmp_path / "shards", "web")
    named = f"--{option}-data={tmp_path / 'shards'}"
    assert "holds tokens" in train(tmp_path / "run", named, "--steps=1").complaint
    named = f"--{option}-data={held['test']}"
    refused = train(tmp_path / "run", named, "--steps=1", f"--data={tmp_path / 'shards'}")
    assert "holds tokens" in refused.complaint
    assert not (tmp_path / "run").exists()
