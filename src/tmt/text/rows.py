"""Rows of text in files of JSON, of separated values and of parquet, each as text, null or a fault."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from tmt.errors import reason
from tmt.text.faults import NO_FIELD, NOT_ROWS, Broken, Fault, Row, field_of, missing_field, text_of
from tmt.text.lines import LONGEST_LINE, needs_pyarrow, too_long

_BETWEEN_VALUES = " \t\r\n,"
_LONGEST_MARK = 16
"""Characters of the longest part of JSON that is not a string: a word, an escape, the end of a number."""
_ROWS_AT_ONCE = 128


def json_lines(lines: Iterable[str], path: Path, text_field: str) -> Iterator[Row]:
    """One object a line; empty lines are passed over."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Fault(NOT_ROWS, f"{where}: not JSON ({_complaint(error)})")
            else:
                yield field_of(row, text_field, where)


def json_values(blocks: Iterable[str], path: Path, text_field: str) -> Iterator[Row]:
    """One object, an array of objects, or several of either one after the other.

    Raises:
        Broken: what follows is not JSON.
    """
    decode, more = json.JSONDecoder().raw_decode, iter(blocks)
    number, held, in_array = 1, "", False
    while True:
        held = held.lstrip(_BETWEEN_VALUES)
        if held[:1] == ("]" if in_array else "["):
            in_array, held = not in_array, held[1:]
            continue
        where, complaint = f"{path}, row {number}", "it ends too soon"
        try:
            row, end = decode(held)
            if end < len(held) or isinstance(row, dict):  # else it may go on in the next block
                yield field_of(row, text_field, where)
                number, held = number + 1, held[end:]
                continue
        except (ValueError, RecursionError) as error:
            complaint = _complaint(error)
            if not _may_go_on(error, held):
                raise Broken(NOT_ROWS, f"{where}: not JSON ({complaint})") from None
        longer = _longer(held, more)
        if len(longer) > LONGEST_LINE:
            raise too_long(where)
        if len(longer) == len(held):
            if held or in_array:
                raise Broken(NOT_ROWS, f"{where}: not JSON ({complaint})")
            return
        held = longer


def _may_go_on(error: Exception, held: str) -> bool:
    """Whether what could not be parsed may be the start of a value."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated") or error.pos > len(held) - _LONGEST_MARK


def _longer(held: str, more: Iterator[str]) -> str:
    """`held` and about as much again, so that parsing anew keeps in proportion."""
    parts, length = [held], len(held)
    for block in more:
        parts.append(block)
        length += len(block)
        if length >= 2 * len(held):
            break
    return "".join(parts)


def separated_values(lines: Iterable[str], path: Path, text_field: str, delimiter: str) -> Iterator[Row]:
    """Rows under a line of field names, quoted as spreadsheets do.

    Raises:
        Broken: there is no such field.
    """
    csv.field_size_limit(LONGEST_LINE)
    rows = csv.reader(lines, delimiter=delimiter)
    fields: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Fault(NOT_ROWS, f"{path}, line {rows.line_num}: {reason(error)}")
            continue
        where = f"{path}, line {rows.line_num}"
        if not fields:
            fields = row
            if row and text_field not in row:
                raise Broken(NO_FIELD, str(missing_field(str(path), text_field, row)))
        elif row and len(row) != len(fields):
            yield Fault(NOT_ROWS, f"{where}: {len(row)} values for {len(fields)} fields")
        elif row:
            yield text_of(row[fields.index(text_field)], where)


def parquet(path: Path, text_field: str) -> Iterator[Row]:
    """The values of one column.

    Raises:
        InputError: pyarrow is not installed.
        Broken: there is no such column, or the file is damaged.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise needs_pyarrow(path) from None
    numbers = count(1)
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            fields = table.schema_arrow.names
            if text_field not in fields:
                raise Broken(NO_FIELD, str(missing_field(str(path), text_field, fields)))
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[text_field]):
                for scalar in batch.column(0):
                    try:
                        value = scalar.as_py()
                    except UnicodeDecodeError as error:
                        value = error.object.decode(errors="surrogateescape")
                    yield text_of(value, f"{path}, row {next(numbers)}")
    except Broken:
        raise
    except Exception as error:  # pyarrow raises whatever its codecs raise
        raise Broken("damaged", f"cannot read {path}: {reason(error)}") from None


def _complaint(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return reason(error)
