"""Rows of every format: what is taken, and that a bad one is one line that names file and row."""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.text import Reading, lines, rows
from tmt.text.files import FILE_KINDS, read_documents
from tmt.text.tally import Tally

many = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = [
    "one",
    "two, with a comma",
    'three "quoted"',
    "four\nlines\n",
    "five\twith a tab",
    "sechs é 漢 😀\r\n",
]


def zst(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode()


def separated(texts: list[str], delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("id", "text"), *enumerate(texts)])
    return file.getvalue().encode()


MAKERS: dict[str, Callable[[list[str]], bytes]] = {
    ".jsonl": jsonl,
    ".json": lambda texts: json.dumps([{"id": 1, "text": text} for text in texts], indent=1).encode(),
    ".csv": lambda texts: separated(texts, ","),
    ".tsv": lambda texts: separated(texts, "\t"),
    ".txt": lambda texts: "\f".join(texts).encode(),
    ".md": lambda texts: "\f".join(texts).encode(),
    ".rst": lambda texts: "\f".join(texts).encode(),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zst}


def read(path: Path, tally: Tally | None = None, **reading: str) -> list[str]:
    return list(read_documents(path, Reading(**reading), tally or Tally()))  # type: ignore[arg-type]


def put(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("kind", MAKERS)
def test_every_format_gives_the_same_texts(tmp_path: Path, kind: str, packing: str) -> None:
    assert kind + packing in FILE_KINDS
    path = put(tmp_path / f"a{kind}{packing}", PACKERS[packing](MAKERS[kind](TEXTS)))
    assert read(path) == TEXTS
    path = put(tmp_path / f"b{kind}{packing}", PACKERS[packing](b"\xef\xbb\xbf" + MAKERS[kind](TEXTS)))
    assert read(path) == TEXTS


@many
@given(texts=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), max_size=9))
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv"])
def test_any_text_comes_back(tmp_path: Path, kind: str, texts: list[str]) -> None:
    if kind in (".csv", ".tsv"):  # which have one kind of line end
        texts = [text.replace("\r", "") for text in texts]
    path = put(tmp_path / f"a{kind}", MAKERS[kind](texts))
    assert read(path) == [text for text in texts if text.strip()]


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


def complaint_of(path: Path) -> str:
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""


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


@many
@given(st.data())
@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"]
)
def test_whatever_is_damaged_nothing_but_one_line_comes_out(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    texts = ["some words é", "more 漢 words", "the last 😀 \u2028"] * 3
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts, "id": list(range(9))}), tmp_path / name, row_group_size=2)
        whole = (tmp_path / name).read_bytes()
    else:
        whole = PACKERS[Path(name).suffix if Path(name).suffix in PACKERS else ""](
            MAKERS[Path(name).suffixes[0]](texts)
        )
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = put(tmp_path / name, bytes(content))
    complaint = complaint_of(path)
    assert "\n" not in complaint
    assert complaint == "" or name in complaint
    for text in read(path, on_bad_row="skip") + read(path, on_bad_row="replace"):
        text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@many
@given(st.lists(JSON | st.fixed_dictionaries({"text": JSON}), max_size=8))
def test_any_json_is_text_or_a_bad_row(tmp_path: Path, values: list) -> None:
    good = [v["text"] for v in values if isinstance(v, dict) and isinstance(v.get("text"), str)]
    good = [text for text in good if text.strip() and text == text.encode(errors="replace").decode()]
    null = sum(isinstance(v, dict) and "text" in v and v["text"] is None for v in values)
    for kind, content in (
        ("jsonl", "".join(json.dumps(value) + "\n" for value in values)),
        ("json", json.dumps(values)),
    ):
        tally, path = Tally(), put(tmp_path / f"a.{kind}", content)
        assert read(path, tally, on_bad_row="skip") == good
        assert tally.null == null
        blank = sum(
            isinstance(v, dict) and isinstance(v.get("text"), str) and not v["text"].strip() for v in values
        )
        assert tally.faults.total() == len(values) - len(good) - null - blank


ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "latin1",
    "cp1252",
    "koi8-r",
    "shift_jis",
    "utf-7",
]


@many
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    name=st.sampled_from(ENCODINGS),
)
@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".json", ".csv"])
def test_whatever_the_encoding_it_is_text_or_one_line(
    tmp_path: Path, kind: str, text: str, name: str
) -> None:
    content = MAKERS[kind]([text, text]).decode().encode(name, errors="ignore")
    path = put(tmp_path / f"a{kind}", content)
    complaint = complaint_of(path)
    assert "\n" not in complaint
    assert complaint == "" or f"a{kind}" in complaint
    if not name.startswith("utf-8"):
        return
    assert complaint == "" or kind == ".csv"


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
