"""Files of texts in every format, and how tests read them."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from tmt.errors import InputError
from tmt.text import Reading
from tmt.text.files import read_documents
from tmt.text.tally import Tally

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


def complaint_of(path: Path) -> str:
    try:
        read(path)
    except InputError as error:
        return str(error)
    return ""
