"""The one kind of error a user causes, the hint that goes with it, and the reason that others gave."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the way out.

    The command line prints the message on one line and exits with code 2. Every other
    exception is a defect of ours and keeps its traceback.
    """


class BrokenPromiseError(RuntimeError):
    """What was judged does not keep the rules, so that its figures mean nothing; the message says where.

    The command line prints it on one line and exits with code 1: with code of the user's own it is a result.
    """


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """An :class:`InputError` for a `name` that is not among the `known` ones, with the nearest names."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    suggestion = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return InputError(f"unknown {kind} {name!r}; {suggestion}{' ' + hint if hint else ''}")


def reason(error: BaseException) -> str:
    """Why something outside this library failed: the first line of the message, or the kind without one."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().split("\n")[0] or type(error).__name__


def readable(error: Exception) -> str:
    """A parser's complaint on one line: the option, its value, and what is expected of it."""
    text = " ".join(str(error).split())
    key, value = re.search(r'[Pp]arser key "([^"]+)"', text), re.search(r"(?:Got|Given) value: (\S+)", text)
    if not (key and value):
        return text
    choices = re.search(r"Literal\[(.*?)\]", text)
    if choices:
        return str(unknown(key[1], value[1], re.findall(r"'([^']*)'", choices[1])))
    types = dict.fromkeys(re.findall(r"Expected an? <class '(?:\w+\.)*(\w+)'>", text))
    return f"{key[1]}={value[1]!r} is not of type {' or '.join(types)}".replace("NoneType", "null")
