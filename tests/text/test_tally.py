"""What is said of a text that was read: separators, line ends, copies, bad rows."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.text import Reading, lines, open_corpus
from tmt.text.documents import parted, parted_by
from tmt.text.files import read_documents
from tmt.text.tally import Tally


def jsonl(texts: list[str]) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def read(path: Path, tally: Tally | None = None, separator: str | None = None) -> list[str]:
    return list(read_documents(path, Reading(separator=separator), tally or Tally()))


def put(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


STORY = "Once upon a time.<|endoftext|>A second story.<|endoftext|>\nThe third.\f<|endoftext|>"


def test_a_separator_inside_of_lines_is_asked_about_or_parts(tmp_path: Path) -> None:
    path, tally = put(tmp_path / "a.txt", STORY), Tally()
    assert len(read(path, tally)) == 2
    (question,) = tally.lines(Reading())
    assert "<|endoftext|> stands 3 times inside of documents" in question
    assert "--separator '<|endoftext|>'" in question
    tally = Tally()
    found = read(path, tally, separator="<|endoftext|>")
    assert found == ["Once upon a time.", "A second story.", "\nThe third.\f"]
    assert tally.lines(Reading(separator="<|endoftext|>")) == []
    rows_of_stories = put(tmp_path / "a.jsonl", jsonl([STORY, "alone"]))
    assert read(rows_of_stories, separator="<|endoftext|>") == [*found, "alone"]


def test_a_separator_that_stands_nowhere_is_said(tmp_path: Path) -> None:
    tally, reading = Tally(), Reading(separator="###")
    read(put(tmp_path / "a.txt", STORY), tally, separator="###")
    assert "the separator '###' stands nowhere in the text" in tally.lines(reading)
    with pytest.raises(InputError, match="separator must not be empty"):
        Reading(separator="")


@settings(max_examples=60)
@given(st.text("ab\n", max_size=60), st.sampled_from(["a", "ab", "aab", "\n\n", "b\na"]), st.integers(1, 7))
def test_a_separator_parts_wherever_blocks_end(text: str, separator: str, block: int) -> None:
    blocks = [text[i : i + block] for i in range(0, len(text), block)]
    pieces = "".join(parted_by(blocks, separator))
    assert pieces.split(separator) == text.split(separator)
    assert [p.removesuffix(separator) for p in parted_by(blocks, separator)] == text.split(separator)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["a", "b c", "\n", "\r\n", "\f", " ", "<|endoftext|>"])), st.integers(1, 30))
def test_documents_of_a_text_do_not_depend_on_blocks(tokens: list[str], block: int) -> None:
    text = "".join(tokens)
    expected = re.split(r"(?m)\f|^[ \r]*<\|endoftext\|>[ \r]*(?:\n|\Z)", text)
    whole_lines = re.findall(rf"(?s).{{1,{block}}}[^\n]*\n?", text)
    assert list(parted(whole_lines)) == list(parted([text]))
    if "\f" not in text:
        assert list(parted([text])) == expected


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("limit", [1001, 5000])
def test_blocks_end_with_a_line_or_at_the_limit(
    tmp_path: Path, block: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    text = "short\n" * 50 + "long" * 800 + "\nend\n\n" + "x" * 3000
    found = list(lines.blocks_of_lines(put(tmp_path / "a.txt", text), True, limit))
    assert "".join(found) == text
    assert max(len(line) for part in found for line in part.split("\n")) == min(limit, 3200)
    assert all(part.endswith("\n") or part[-limit:].count("\n") == 0 for part in found[:-1])


@pytest.mark.parametrize("longest", [5, 9, 64])
def test_long_documents_come_in_pieces_that_keep_the_separator_whole(
    longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmt.text.documents.LONGEST_TEXT", longest)
    text = "abcdefghij" * 3 + "<s>" + "klmn" * 5
    pieces = list(parted_by([text[i : i + 4] for i in range(0, len(text), 4)], "<s>"))
    assert "".join(pieces) == text
    assert [piece for piece in pieces if "<s>" in piece]
    assert all(len(piece) <= longest + 8 for piece in pieces)
    assert "".join(parted([text])) == text


def test_line_ends_are_kept_in_every_format_and_said(tmp_path: Path) -> None:
    text = "".join(f"line {i}\r\n" for i in range(400))
    plain, row = put(tmp_path / "a.txt", text), put(tmp_path / "a.jsonl", jsonl([text]))
    for path in (plain, row):
        corpus = open_corpus(str(path))
        assert sum(len(part.encode()) for _, part in corpus.labelled()) == len(text)
        assert list(corpus.notes()) == ["documents with line ends of Windows, kept as two bytes each: 1"]


def test_copies_are_counted(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", jsonl(["one text"] * 200))
    with pytest.raises(InputError, match=r"three different documents .* found 1 different \(200 documents\)"):
        open_corpus(str(path)).documents("train")
    some = open_corpus(str(put(path, jsonl([f"text {i % 150}" for i in range(200)]))))
    assert list(some.notes()) == ["200 documents, 150 different: equal ones share a split"]


def test_nothing_but_bad_rows(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": 5}\n' * 9)
    with pytest.raises(
        InputError, match=r"holds no text; bad rows left out: 9 not text; the first: .*line 1"
    ):
        open_corpus(str(path), on_bad_row="skip")
    with pytest.raises(InputError, match="unknown on_bad_row 'ignore'"):
        open_corpus(str(path), on_bad_row="ignore")
