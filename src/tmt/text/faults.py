"""Rows that cannot be used as they stand."""

import re
from dataclasses import dataclass

from tmt.errors import InputError

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row, or with the rest of a file.

    Attributes:
        kind: the same words for all faults that are counted together.
        message: one line that names file and row.
        repaired: the text with U+FFFD for what UTF-8 cannot express; None where there is no text.
    """

    kind: str
    message: str
    repaired: str | None = None


class Broken(Exception):
    """Nothing more can be read from a file."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(kind, message)


Row = str | Fault | None
"""A text, what is wrong with it, or null."""

NO_FIELD = "no such field"
NOT_ROWS = "not rows"


def text_of(value: object, where: str) -> Row:
    """`value` if it is text or null, else a fault that names `where`."""
    if value is None:
        return None
    if not isinstance(value, str):
        message = f"{where}: expected text, found {type(value).__name__}; choose another text_field"
        return Fault("not text", message)
    try:
        value.encode()
    except UnicodeEncodeError:
        why = "the text holds a lone surrogate, which UTF-8 cannot express"
        return Fault("not UTF-8", f"{where}: {why}", _SURROGATES.sub("\ufffd", value))
    return value


def field_of(row: object, text_field: str, where: str) -> Row:
    """The text in a field of a parsed row, or what is wrong with the row."""
    if not isinstance(row, dict):
        return Fault(NOT_ROWS, f"{where}: expected an object with a field {text_field!r}")
    if text_field not in row:
        return Fault(NO_FIELD, str(missing_field(where, text_field, list(row))))
    return text_of(row[text_field], where)


def missing_field(where: str, text_field: str, fields: list[str]) -> InputError:
    """The error for a row or table without `text_field`; names the first 20 of its fields."""
    named = ", ".join(fields[:20]) + (f", and {len(fields) - 20} more" if len(fields) > 20 else "")
    return InputError(f"{where}: no field {text_field!r}; set text_field to one of: {named}")
