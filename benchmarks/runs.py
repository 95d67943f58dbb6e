"""Records of benchmark scripts, kept one JSON object a line."""

import json
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, TypeVar

from tmt.code_version import code_version

Name = TypeVar("Name")


def missing(names: Iterable[Name], done: Container[Name], again: bool) -> list[Name]:
    """The names that have no record yet, all with `again`; says which have one."""
    names = list(names)
    there = [] if again else [name for name in names if name in done]
    if there:
        said = ", ".join(map(str, there))
        print(f"recorded already and not made again (--again makes them): {said}", file=sys.stderr)
    return [name for name in names if name not in there]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file, none where there is no file."""
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )


def add_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record, with the code that made it, to a file; of two of one name the last counts."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record | {"code": code_version()}) + "\n")
