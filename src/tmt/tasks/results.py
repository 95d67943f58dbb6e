"""Records of finished jobs: JSON lines that an interrupted series of jobs is continued from."""

import json
import math
import platform
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from tmt.code_version import code_version
from tmt.errors import InputError
from tmt.tasks.interval import interval

Record = dict[str, Any]


class Job(Protocol):
    """Something to train and score."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others; part of its record."""
        ...

    def run(self) -> dict[str, Any]:
        """Do it; the rest of its record."""
        ...


class Results:
    """The records in a file, if there is one; a new one is appended as soon as it is there."""

    def __init__(self, path: Path | None):
        """Reads what the file holds; InputError where that is not records, or it cannot be written."""
        self._path = path
        self.records: list[Record] = []
        if path is not None:
            self._append("")
            self.records = _read(path)

    def find(self, job: Job) -> Record | None:
        """The record of a job that is done already."""
        identity = _plain(job.identity)
        same = (record for record in self.records if identity.items() <= record.items())
        return next(same, None)

    def run(self, job: Job) -> Record:
        """Run a job and keep its record."""
        machine = {
            "machine": platform.platform(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "code": code_version(),
        }
        record = _plain({**job.identity, **job.run(), **machine})
        self.records.append(record)
        self._append(json.dumps(record, allow_nan=False) + "\n")
        return record

    def _append(self, text: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from error


@dataclass(frozen=True)
class Line:
    """The repetitions of one model at one learning rate."""

    records: list[Record]
    best: bool
    """Whether no other learning rate has a better mean score on the validation draws."""

    @property
    def first(self) -> Record:
        """What all repetitions have in common, and more."""
        return self.records[0]

    def interval(self, name: str) -> tuple[float, float | None]:
        """Mean and half width of the 95 % interval of a figure."""
        return interval([_number(record[name]) for record in self.records])


def summarise(records: Sequence[Record]) -> list[Line]:
    """One line for each model and learning rate, in the order of the records."""
    by_model = _grouped(
        records, lambda record: json.dumps([record.get("encoder"), record["arch"], record["model"]])
    )
    return [line for group in by_model for line in _lines(group)]


def _lines(records: list[Record]) -> list[Line]:
    rates = _grouped(records, lambda record: record["lr"])
    means = [interval([_number(record["valid_score"]) for record in rate])[0] for rate in rates]
    best = max(range(len(rates)), key=lambda i: -math.inf if math.isnan(means[i]) else means[i])
    return [Line(rate, i == best) for i, rate in enumerate(rates)]


def _grouped(records: Sequence[Record], key: Callable[[Record], Hashable]) -> list[list[Record]]:
    groups: dict[Hashable, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(value: Any) -> Any:
    """What JSON makes of a value; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _read(path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}, line {number}: not a JSON object; remove it, or name another file"
            ) from error
    return records
