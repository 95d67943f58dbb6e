"""Which files of a folder are text, and which were passed over and why."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tmt.errors import InputError, reason
from tmt.text.faults import NO_FIELD, NOT_ROWS, Fault
from tmt.text.files import COMPRESSIONS, FILE_KINDS, ROW_KINDS, TEXT_KINDS, file_kind, read_rows
from tmt.text.reading import Reading

KNOWN = f"{', '.join((*TEXT_KINDS, *ROW_KINDS, '.parquet'))}; also {' and '.join(COMPRESSIONS)}"

_MAYBE_OTHER = (".json", ".csv", ".tsv")
"""Kinds that are as often settings or tables as text."""


@dataclass
class Listing:
    """The text files below a folder, in the order of their paths, and what else lies there.

    A link is followed once, after all that is no link, so that nothing is read twice and nothing without end.

    Raises:
        InputError: a folder cannot be read.
    """

    folder: Path
    reading: Reading
    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    """Names by the reason."""

    def __post_init__(self):
        """Look through the folder."""
        self._root = self.folder.resolve()
        self._seen: set[Path] = set()
        self._links: list[Path] = []
        self._visit(self.folder, self._root)
        while self._links:
            self._follow(self._links.pop(0))
        self.files.sort()

    def summary(self) -> str:
        """What was taken and what was not, in one line."""
        kinds = Counter(map(file_kind, self.files))
        taken = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        count = len(self.files)
        return f"folder {self.folder}: {count:,} file{'s' * (count > 1)} ({taken}){self._others()}"

    def nothing(self) -> InputError:
        """The error for a folder without a text file."""
        return InputError(f"folder {self.folder} holds no text file ({KNOWN}){self._others()}")

    def _others(self) -> str:
        parts = [f"{_some(sorted(names))} ({why})" for why, names in sorted(self.passed_over.items())]
        count = sum(map(len, self.passed_over.values()))
        return f"; passed over {count:,}: {', '.join(parts)}" if parts else ""

    def _visit(self, folder: Path, real: Path) -> None:
        if real in self._seen:
            return
        self._seen.add(real)
        try:
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
                path = folder / entry.name
                if entry.name.startswith("."):
                    self._pass_over(path, "hidden")
                elif entry.is_symlink():
                    self._links.append(path)
                elif entry.is_dir():
                    self._visit(path, real / entry.name)
                else:
                    self._take(path, real / entry.name)
        except OSError as error:
            raise InputError(f"cannot read {folder}: {reason(error)}") from None

    def _follow(self, link: Path) -> None:
        try:
            real = link.resolve(strict=True)
        except (OSError, RuntimeError):
            self._pass_over(link, "a link to nothing")
            return
        if not (self.reading.follow_links or real.is_relative_to(self._root)):
            self._pass_over(link, "a link out of the folder; --follow-links reads it")
        elif real.is_dir():
            self._visit(link, real)
        else:
            self._take(link, real)

    def _take(self, path: Path, real: Path) -> None:
        if real in self._seen:
            return
        self._seen.add(real)
        if not path.is_file():
            self._pass_over(path, "not a file")
        elif not path.name.lower().endswith(FILE_KINDS):
            self._pass_over(path, "not a known kind of text")
        elif why := self._other_rows(path):
            self._pass_over(path, why)
        else:
            self.files.append(path)

    def _other_rows(self, path: Path) -> str:
        """Why a file is something else than rows of text; "" where it is not."""
        if not file_kind(path).startswith(_MAYBE_OTHER) or file_kind(path).startswith(".jsonl"):
            return ""
        first = next(iter(islice(read_rows(path, self.reading), 1)), None)
        if not isinstance(first, Fault):
            return ""
        return {
            NO_FIELD: f"no field {self.reading.text_field!r}; set text_field",
            NOT_ROWS: "not rows of objects",
        }.get(first.kind, "")

    def _pass_over(self, path: Path, why: str) -> None:
        self.passed_over.setdefault(why, []).append(str(path.relative_to(self.folder)))


def _some(names: Iterable[str], most: int = 3) -> str:
    named = list(names)
    more = f" and {len(named) - most:,} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more
