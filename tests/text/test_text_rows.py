"""Rows of every format: what is taken, and that a bad one is one line that names file and row."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import MAKERS, PACKERS, TEXTS, jsonl, put, read, separated, zst

from tmt.errors import InputError
from tmt.text import Reading, lines, rows
from tmt.text.files import FILE_KINDS
from tmt.text.tally import Tally


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", MAKERS)
def test_every_format_gives_the_same_texts(tmp_path: Path, kind: str, packing: str) -> None:
    assert kind + packing in FILE_KINDS
    path = put(tmp_path / f"a{kind}{packing}", PACKERS[packing](MAKERS[kind](TEXTS)))
    assert read(path) == TEXTS
    path = put(tmp_path / f"b{kind}{packing}", PACKERS[packing](b"\xef\xbb\xbf" + MAKERS[kind](TEXTS)))
    assert read(path) == TEXTS


VALUES = [
    ('{"text": "one"}', ["one"]),
    ('{"text": "one"}\n{"text": "two"}\n', ["one", "two"]),
    ('[{"text": "one"},\n{"text": "two"}]\n[{"text": "three"}]', ["one", "two", "three"]),
    ("[]", []),
    ("", []),
    (' [ {"text": null} , {"text": "]["} ] ', ["]["]),
]


@pytest.mark.parametrize(("content", "texts"), VALUES)
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_a_json_file_is_an_array_or_objects(
    tmp_path: Path, content: str, texts: list[str], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    assert read(put(tmp_path / "a.json", content)) == texts


NUMBER = "9" * 5000
DEEP = "[" * 100_000
X, Y = '{"text": "x"}\n', '{"text": "y"}\n'
BAD: dict[str, tuple[str, str | bytes, str, int]] = {
    "digits": ("jsonl", X + f'{{"n": {NUMBER}, "text": "x"}}\n' + Y, "line 2: not JSON", 2),
    "nesting": ("jsonl", X + DEEP + "\n" + Y, "line 2: not JSON", 2),
    "half": ("jsonl", X + '{"text": "y\n' + Y, "line 2: not JSON", 2),
    "array": ("jsonl", X + '["text"]\n', "line 2: expected an object", 1),
    "no field": ("jsonl", X + '{"body": 1}\n', "line 2: no field 'text'; set text_field to one of", 1),
    "object": ("jsonl", X + '{"text": {"a": 1}}\n', "line 2: expected text, found dict", 1),
    "surrogate": ("jsonl", X + '{"text": "\\ud83d"}\n', "line 2: the text holds a lone surrogate", 1),
    "latin1": ("jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', "is not UTF-8 (byte offset 24)", 1),
    "NaN": ("jsonl", X + '{"text": NaN}\n', "line 2: expected text, found float", 1),
    "nul": ("jsonl", X + '\0\0\0\n', "is binary", 1),
    "json digits": ("json", f'[{{"text": "x"}}, {{"text": {NUMBER}}}]', "row 2: not JSON", 1),
    "json nesting": ("json", f'[{{"text": "x"}}, {DEEP}', "row 2: not JSON", 1),
    "json open": ("json", '[{"text": "x"}, ', "row 2: not JSON", 1),
    "json half": ("json", '[{"text": "x"}, {"text": "y', "row 2: not JSON", 1),
    "json word": ("json", '[{"text": "x"}, {"text": nul' + " " * 50, "row 2: not JSON", 1),
    "json number": ("json", '[{"text": "x"}, 12, {"text": "y"}]', "row 2: expected an object", 2),
    "csv width": ("csv", "id,text\n1,x\n2\n3,y\n", "line 3: 1 values for 2 fields", 2),
    "csv return": ("csv", "id,text\n1,x\n2,a\rb\n3,y\n", "line 3: new-line character", 2),
    "csv field": ("csv", "id,body\n1,x\n", "no field 'text'; set text_field to one of: id, body", 0),
    "text": ("txt", b"fine\f\xe9t\xe9\fx", "is not UTF-8 (byte offset 5)", 2),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line_that_names_file_and_row(tmp_path: Path, case: str) -> None:
    kind, content, complaint, _ = BAD[case]
    path = put(tmp_path / f"a.{kind}", content)
    with pytest.raises(InputError) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert complaint in str(error.value)
    assert "--on-bad-row skip" in str(error.value)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_left_out_and_counted(tmp_path: Path, case: str) -> None:
    kind, content, _, good = BAD[case]
    tally = Tally()
    found = read(put(tmp_path / f"a.{kind}", content), tally, on_bad_row="skip")
    assert len(found) == good
    assert all(text in ("x", "y", "fine") for text in found)
    assert tally.faults.total() == 1
    (line,) = tally.lines(Reading(on_bad_row="skip"))
    assert line.startswith("bad rows left out: 1 ")
    assert str(tmp_path) in line


def test_what_is_not_utf8_is_replaced(tmp_path: Path) -> None:
    tally = Tally()
    content = b'{"text": "a\\ud83d!"}\n{"text": "\xe9t\xe9"}\n{"text": 5}\n{"text": null}\n'
    content += b'{"text": "\\ud83d\\ude00"}'
    found = read(put(tmp_path / "a.jsonl", content), tally, on_bad_row="replace")
    assert found == ["a\ufffd!", "\ufffdt\ufffd", "😀"]
    said = tally.lines(Reading(on_bad_row="replace"))
    assert said[0].startswith("bad rows replaced or left out: 2 not UTF-8, 1 not text; the first: ")
    assert said[1] == "rows without text (null): 1"


def rows_in(name: str) -> bytes:
    return PACKERS[Path(name).suffix](
        MAKERS[Path(name).suffixes[0]]([f"row {i} {i**9}" for i in range(4000)])
    )


@pytest.mark.parametrize(
    "name", ["a.jsonl.gz", "a.jsonl.zst", "a.txt.gz", "a.csv.zst", "a.json.gz", "a.tsv.gz"]
)
def test_a_file_that_is_cut_short(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name, rows_in(name)[:-9])
    with pytest.raises(InputError, match=rf"cannot read .*{name}: .*") as error:
        read(path)
    assert "\n" not in str(error.value)
    tally = Tally()
    found = read(path, tally, on_bad_row="skip")
    assert tally.faults == {"damaged": 1}
    assert len(found) > 1000 or name in ("a.txt.gz", "a.json.gz")


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"\xe9t\xe9", None], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet, row 2: .*UTF-8"):
        read(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", on_bad_row="skip") == ["fine"]
    assert read(tmp_path / "a.parquet", on_bad_row="replace") == ["fine", "\ufffdt\ufffd"]


def test_a_row_has_a_longest_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 50)
    monkeypatch.setattr(rows, "LONGEST_LINE", 50)
    monkeypatch.setattr(lines, "BLOCK", 20)
    for kind in (".jsonl", ".json", ".csv"):
        path = put(tmp_path / f"a{kind}", MAKERS[kind](["short", "long " * 20]))
        with pytest.raises(InputError, match=rf"a\{kind}, (line|row) \d: (a row of 50 char|field larger)"):
            read(path)


def test_a_field_of_csv_longer_than_the_parser_takes_by_itself(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.csv", separated(["x" * 200_000], ","))) == ["x" * 200_000]


def test_zstandard_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.jsonl.zst", zst(jsonl(["one"])))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"\.zst needs pyarrow; pip install .*\[data\]"):
        read(path)
