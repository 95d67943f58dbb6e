"""Text from and for a terminal: typed in any locale, written so that nothing fails and nothing is obeyed."""

import re
import sys
from io import TextIOWrapper

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def prepare() -> None:
    """Have stdout and stderr write a character that their encoding lacks as an escape (`\\xef`), not fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def typed(argument: str) -> str:
    """An argument as it was typed, in UTF-8, also where the locale is of ASCII only.

    Python then keeps the other bytes as lone surrogates, which suits the names of files alone.

    Raises:
        UnicodeError: it is not UTF-8.
    """
    return argument.encode("utf-8", "surrogateescape").decode("utf-8")


def visible(text: str, keep: str = "\n\t") -> str:
    """`text` with control characters, but those to `keep`, as escapes: a terminal does not obey them."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def shown(text: str) -> str:
    """`text` as stdout should have it: :func:`visible` in a terminal, as it is in a file or a pipe."""
    return visible(text) if sys.stdout.isatty() else text


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
