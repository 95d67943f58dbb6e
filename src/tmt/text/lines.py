"""The characters of a file, plain or compressed, in lines or blocks."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tmt.errors import InputError, reason
from tmt.text.faults import Broken

LONGEST_LINE = 2**28
"""A row of more characters than this ends the reading of its file, so that memory stays bounded."""
BLOCK = 2**20

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def lines(path: Path, strict: bool) -> Iterator[str]:
    """Lines with their ends as they stand.

    Not `strict`: bytes that are not UTF-8 become lone surrogates instead of ending the file.

    Raises:
        InputError: the file cannot be opened.
        Broken: the file is damaged, binary, or (`strict`) not UTF-8; a line is longer than `LONGEST_LINE`.
    """
    found = _pieces(path, strict, lambda handle: handle.readline(LONGEST_LINE))
    for number, line in enumerate(found, start=1):
        if len(line) == LONGEST_LINE:
            raise too_long(f"{path}, line {number}")
        yield line


def blocks(path: Path, strict: bool) -> Iterator[str]:
    """The same in blocks of `BLOCK` characters, lines of any length."""
    return _pieces(path, strict, lambda handle: handle.read(BLOCK))


def blocks_of_lines(path: Path, strict: bool, limit: int) -> Iterator[str]:
    """The same in blocks that end with a line; a line of more than `limit` characters is cut there."""

    def read(handle: io.TextIOWrapper) -> str:
        block = handle.read(BLOCK)
        begun = len(block) - 1 - block.rfind("\n")
        return block + handle.readline(limit - begun) if begun else block

    return _pieces(path, strict, read)


def too_long(where: str) -> Broken:
    """The end of a file in which a row does not end."""
    why = f"a row of {LONGEST_LINE:,} characters or more; is it rows of text?"
    return Broken("too long", f"{where}: {why}")


def needs_pyarrow(path: Path) -> InputError:
    """The error for a file that cannot be read without pyarrow."""
    return InputError(f'{path}: {path.suffix} needs pyarrow; pip install "temporalmesh-transformer[data]"')


def _pieces(path: Path, strict: bool, read: Callable[[io.TextIOWrapper], str]) -> Iterator[str]:
    with _opened(path) as raw:
        errors = "strict" if strict else "surrogateescape"
        handle = io.TextIOWrapper(raw, encoding="utf-8-sig", errors=errors, newline="\n")
        try:
            while piece := _piece(path, handle, read):
                if "\0" in piece:
                    raise _binary(path)
                yield piece
        except (OSError, EOFError, zlib.error) as error:
            raise Broken("damaged", f"cannot read {path}: {reason(error)}") from None


def _piece(path: Path, handle: io.TextIOWrapper, read: Callable[[io.TextIOWrapper], str]) -> str:
    try:
        return read(handle)
    except UnicodeDecodeError:
        with _opened(path) as again:
            raise _not_utf8(path, again) from None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from None
    with file:
        name = path.name.lower()
        if name.endswith(".gz"):
            yield cast("BinaryIO", gzip.GzipFile(fileobj=file))
        elif name.endswith(".zst"):
            yield _zstandard(path, file)
        else:
            yield file


def _zstandard(path: Path, file: BinaryIO) -> BinaryIO:
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            f'{path}: .zst needs pyarrow; pip install "temporalmesh-transformer[data]"'
        ) from None
    return cast("BinaryIO", pyarrow.CompressedInputStream(file, "zstd"))


def _not_utf8(path: Path, handle: BinaryIO) -> Broken:
    """What to say of a file whose bytes cannot be decoded: it names the first such byte."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        block = handle.read(BLOCK)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            if b"\0" in block and not block.startswith(_UTF16_MARKS):
                return _binary(path)
            likely = "utf-16" if block.startswith(_UTF16_MARKS) else "latin1"
            where = f"{path} is not UTF-8 (byte offset {offset - pending + error.start})"
            return Broken(
                "not UTF-8", f"{where}; convert it: iconv -f {likely} -t utf-8 {path.name} > utf8-{path.name}"
            )
        if not block:
            return Broken("not UTF-8", f"{path} changed while it was read; try again")
        offset += len(block)


def _binary(path: Path) -> Broken:
    return Broken("binary", f"{path} is binary (it holds NUL bytes), not text")
