"""From texts to documents: parted at separators, bounded, faults dealt with, and everything counted."""

from collections.abc import Iterable, Iterator
from io import StringIO

from tmt.errors import InputError
from tmt.text.faults import Fault, Row
from tmt.text.reading import Reading
from tmt.text.tally import SEPARATOR, Tally

LONGEST_TEXT = 2**24
"""A document of more characters than this is cut at the end of the line, and one of twice as many anywhere,
so that memory stays bounded."""


def documents_of(rows: Iterable[Row], reading: Reading, tally: Tally) -> Iterator[str]:
    """The documents of `rows` that hold more than white space.

    Raises:
        InputError: see :func:`accepted`.
    """
    for text in accepted(rows, reading, tally):
        parts = [text] if reading.separator is None else text.split(reading.separator)
        tally.parted += len(parts) - 1
        for document in (piece for part in parts for piece in _bounded_pieces(part)):
            if document.strip():
                tally.see(document)
                yield document


def accepted(rows: Iterable[Row], reading: Reading, tally: Tally) -> Iterator[str]:
    """The texts of `rows`; null and faults are counted, faults repaired, left out or raised.

    Raises:
        InputError: at the first fault, where `reading` says so; names file and row.
    """
    for row in rows:
        if row is None:
            tally.null += 1
        elif isinstance(row, Fault):
            if reading.on_bad_row == "stop":
                raise InputError(f"{row.message} (--on-bad-row skip or replace reads on)")
            tally.add_fault(row)
            if reading.on_bad_row == "replace" and row.repaired is not None:
                yield row.repaired
        else:
            yield row


def _bounded_pieces(text: str) -> Iterator[str]:
    if len(text) <= 2 * LONGEST_TEXT:
        yield text
    else:
        yield from (text[start : start + LONGEST_TEXT] for start in range(0, len(text), LONGEST_TEXT))


def parted(blocks: Iterable[str]) -> Iterator[str]:
    """The documents of a text in blocks of whole lines; a line `<|endoftext|>` or a form feed parts them."""
    held: list[str] = []
    length = 0
    for block in blocks:
        plain = SEPARATOR not in block and "\f" not in block and length + len(block) < LONGEST_TEXT
        for line in (block,) if plain else StringIO(block, newline="\n"):
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


def parted_by(blocks: Iterable[str], separator: str) -> Iterator[str]:
    """The documents of a text, each with the `separator` that ends it; what is too long comes in pieces."""
    held, overlap = "", len(separator) - 1
    for block in blocks:
        *ended, held = (held + block).split(separator)
        yield from (document + separator for document in ended)
        if len(held) >= LONGEST_TEXT + overlap:  # the separator may have begun
            yield held[: len(held) - overlap]
            held = held[len(held) - overlap :]
    yield held
