"""Documents from local files: .txt, .jsonl, .jsonl.gz and .parquet."""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from tmt.errors import InputError, unknown
from tmt.text.reason import reason

FILE_KINDS = (".txt", ".jsonl", ".jsonl.gz", ".parquet")
SEPARATOR = "<|endoftext|>"
LONGEST_TEXT = 2**24
"""A .txt document of more characters than this is cut, so that memory stays bounded."""

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_documents(path: Path, text_field: str) -> Iterator[str]:
    """The documents of one file that hold more than white space, in order.

    A .txt file parts its documents by a line `<|endoftext|>` or by form feeds; in the other formats a
    row is a document and `text_field` its text. A row whose text is null is passed over.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or a row lacks the text.
    """
    kind = file_kind(path)
    if kind == ".txt":
        documents = _from_text(path)
    elif kind == ".parquet":
        documents = _from_parquet(path, text_field)
    else:
        documents = _from_jsonl(path, text_field)
    return (document for document in documents if document.strip())


def file_kind(path: Path) -> str:
    """The entry of `FILE_KINDS` that the name ends in.

    Raises:
        InputError: it ends in none of them.
    """
    for kind in FILE_KINDS:
        if path.name.lower().endswith(kind):
            return kind
    raise unknown("file type", "".join(path.suffixes[-2:]) or path.name, FILE_KINDS, f"(file {path})")


def text_of(value: object, where: str) -> str:
    """The text in a row's field; "" for null.

    Raises:
        InputError: the value is not text, or holds half of a surrogate pair; names `where`.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{where}: expected text, found {type(value).__name__}; choose another text_field")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{where}: the text holds a lone surrogate, which UTF-8 cannot express") from None
    return value


def missing_field(where: str, text_field: str, fields: list[str]) -> InputError:
    """The error for a row or table without `text_field`."""
    return InputError(f"{where}: no field {text_field!r}; set text_field to one of: {', '.join(fields)}")


def _from_text(path: Path) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for line in _lines(path, LONGEST_TEXT):
        *ended, rest = ["", ""] if line.strip() == SEPARATOR else line.split("\f")
        for part in ended:
            yield "".join([*held, part])
            held, length = [], 0
        held.append(rest)
        length += len(rest)
        if length >= LONGEST_TEXT:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


def _from_jsonl(path: Path, text_field: str) -> Iterator[str]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{where}: not JSON ({error.msg}, column {error.colno})") from None
        if not isinstance(row, dict):
            raise InputError(f"{where}: expected an object with a field {text_field!r}")
        if text_field not in row:
            raise missing_field(where, text_field, list(row))
        yield text_of(row[text_field], where)


def _from_parquet(path: Path, text_field: str) -> Iterator[str]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f'{path}: .parquet needs pyarrow; pip install "temporalmesh-transformer[data]"'
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            fields = table.schema_arrow.names
            if text_field not in fields:
                raise missing_field(str(path), text_field, fields)
            for batch in table.iter_batches(batch_size=1024, columns=[text_field]):
                for value in batch.column(0).to_pylist():
                    yield text_of(value, str(path))
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from None


def _lines(path: Path, limit: int = -1) -> Iterator[str]:
    """Lines with their end as "\\n", at most `limit` characters each (-1: any number)."""
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as handle:
            while line := handle.readline(limit):
                if "\0" in line:
                    raise _binary(path)
                yield line
    except UnicodeDecodeError:
        with opened(path, "rb") as handle:
            raise _not_utf8(path, handle) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from None


def _not_utf8(path: Path, handle: io.BufferedIOBase) -> InputError:
    """What to say of a file whose bytes cannot be decoded: it names the first such byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        block = handle.read(2**20)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            if b"\0" in block and not block.startswith(_UTF16_MARKS):
                return _binary(path)
            likely = "utf-16" if block.startswith(_UTF16_MARKS) else "latin1"
            return InputError(
                f"{path} is not UTF-8 (byte offset {offset - pending + error.start}); "
                f"convert it: iconv -f {likely} -t utf-8 {path.name} > utf8-{path.name}"
            )
        if not block:
            return InputError(f"{path} changed while it was read; try again")
        offset += len(block)


def _binary(path: Path) -> InputError:
    return InputError(f"{path} is binary (it holds NUL bytes), not text")
