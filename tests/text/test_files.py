import gzip
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tmt.errors import InputError
from tmt.text import Reading, documents
from tmt.text.files import read_documents
from tmt.text.tally import Tally


def read(path: Path, text_field: str = "text") -> list[str]:
    return list(read_documents(path, Reading(text_field=text_field), Tally()))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        ("one\n<|endoftext|>\ntwo\n", ["one\n", "two\n"]),
        ("one\r\n<|endoftext|>\r\ntwo\r\n", ["one\r\n", "two\r\n"]),
        ("<|endoftext|>\none\n<|endoftext|>\n\n<|endoftext|>\n", ["one\n"]),
        ("one\ftwo\f\n\fthree", ["one", "two", "three"]),
        ("a <|endoftext|> inside a line stays\n", ["a <|endoftext|> inside a line stays\n"]),
        (b"\xef\xbb\xbfmarked\n", ["marked\n"]),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_text_file(tmp_path: Path, content: str | bytes, documents: list[str]) -> None:
    assert read(write(tmp_path / "a.txt", content)) == documents


def test_long_text_is_cut_so_that_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LONGEST_TEXT", 10)
    content = "0123456789abcdef\nshort\n"
    parts = read(write(tmp_path / "a.txt", content))
    assert "".join(parts) == content
    assert max(map(len, parts)) < 20


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "A.JSONL"])
def test_jsonl(tmp_path: Path, name: str) -> None:
    rows = [{"text": "one"}, {"text": None}, {"text": "two\r\nlines é", "id": 3}]
    content = "\n\n".join(json.dumps(row) for row in rows).encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    assert read(path) == ["one", "two\r\nlines é"]


def test_parquet_reads_only_the_field(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2, 3], "content": ["one", None, "three"]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    assert read(tmp_path / "a.parquet", "content") == ["one", "three"]
    with pytest.raises(
        InputError, match=r"a\.parquet: no field 'text'; set text_field to one of: id, content"
    ):
        read(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet, row 1: expected text, found int"):
        read(tmp_path / "a.parquet", "id")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "x"', r"a\.jsonl, line 2: not JSON"),
        ('{"body": 1, "id": 2}', r"line 2: no field 'text'; set text_field to one of: body, id"),
        ('["text"]', r"line 2: expected an object with a field 'text'"),
        ('{"text": 5}', r"line 2: expected text, found int"),
        (r'{"text": "\ud83d"}', r"line 2: the text holds a lone surrogate"),
    ],
)
def test_broken_row_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "fine"}\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("before", ["", "é" * 100_000, "x" * (2**20 - 1), "x" * (2**20 - 1) + "é"])
def test_latin1_names_file_and_offset(tmp_path: Path, before: str) -> None:
    path = write(tmp_path / "a.txt", before.encode() + "caf\xe9 au lait".encode("latin1"))
    offset = len(before.encode()) + 3
    with pytest.raises(
        InputError, match=rf"a\.txt is not UTF-8 \(byte offset {offset}\); .*iconv -f latin1 -t utf-8"
    ):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text\0more", "binary"),
        (b"\x89PNG\r\n\0\0", "binary"),
        ("hello".encode("utf-16"), "iconv -f utf-16"),
        ("end €".encode()[:-1], r"byte offset 4"),
    ],
)
def test_not_text(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path / "a.txt", content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", b"not gzip"),
        ("b.jsonl.gz", gzip.compress(b'{"text": "hello"}' * 100, mtime=0)[:-12]),
        ("c.parquet", b"not parquet"),
    ],
)
def test_damaged_container(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        read(write(tmp_path / name, content))


def test_unknown_extension_and_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown file type '\.jsnl'; did you mean \.jsonl"):
        read(tmp_path / "a.jsnl")
    with pytest.raises(InputError, match=r"cannot read .*gone\.txt: No such file"):
        read(tmp_path / "gone.txt")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"temporalmesh-transformer\[data\]"):
        read(tmp_path / "a.parquet")
