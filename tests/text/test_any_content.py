"""Whatever is put into a file, what comes out is text or one line that names the file."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from formats import MAKERS, PACKERS, complaint_of, put, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tmt.text.tally import Tally

many = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(texts=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), max_size=9))
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".tsv"])
def test_any_text_comes_back(tmp_path: Path, kind: str, texts: list[str]) -> None:
    if kind in (".csv", ".tsv"):  # which have one kind of line end
        texts = [text.replace("\r", "") for text in texts]
    path = put(tmp_path / f"a{kind}", MAKERS[kind](texts))
    assert read(path) == [text for text in texts if text.strip()]


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
