"""The course of a visit: one process a part, stopped when its time is up."""

import datetime
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from tmt.bench.gpu.errors import last_line
from tmt.bench.gpu.page import page
from tmt.bench.gpu.parts import CARD, PARTS, Task

FULL = 8 * 60.0
"""Seconds that the parts' own times add up to less than."""
ROWS, PAGE = "rows.jsonl", "README.md"


@dataclass(frozen=True)
class Visit:
    """What every part is to run on."""

    device: str
    quick: bool


def run(visit: Visit, minutes: float, out: Path | None, command: str) -> Path:
    """Do every part within so many minutes; the folder with rows.jsonl and README.md.

    A part that fails, crashes or is stopped leaves a row that says so, beside those it had.
    """
    end = time.monotonic() + 60 * minutes
    rows: list[dict[str, Any]] = []
    folder = out
    for name in PARTS:
        for row in _part(visit, name, _limit(name, end, minutes)):
            rows.append({"part": name, **row})
            _tell(rows[-1])
            if folder is not None:
                _keep(folder, rows[-1:])
        if folder is None:
            folder = _new_folder(rows)
            _keep(folder, rows)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).write_text(page(rows, command), encoding="utf-8")
    assert folder is not None
    print(f"results: {folder}", file=sys.stderr)
    return folder


def _limit(name: str, end: float, minutes: float) -> float:
    """Seconds that a part has now."""
    left, names = end - time.monotonic(), list(PARTS)
    own = PARTS[name].seconds
    if own is not None:
        return min(left, own * 60 * minutes / FULL)
    return left / (len(names) - names.index(name))


def _part(visit: Visit, name: str, seconds: float) -> Iterator[dict[str, Any]]:
    """The rows of a part as they come, and of its end where it is not a good one."""
    if seconds <= 0:
        yield {"error": "not begun: the time was up"}
        return
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tmt.bench.gpu.parts"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(visit, name, seconds, sender), daemon=True)
    end = time.monotonic() + seconds
    process.start()
    sender.close()
    try:
        while receiver.poll(max(0.0, end - time.monotonic())):
            yield receiver.recv()
        yield {"error": f"stopped after {seconds:.0f} s"}
    except EOFError:
        process.join()
        if process.exitcode:
            yield {"error": f"the process ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _work(visit: Visit, name: str, seconds: float, sender: Connection) -> None:
    """In the part's own process: send its rows."""
    try:
        for row in PARTS[name].rows(Task(torch.device(visit.device), visit.quick, seconds)):
            sender.send(row)
    except Exception as error:  # whatever it is, the next part is run
        sender.send({"error": last_line(error)})


def _keep(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ROWS).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _new_folder(rows: list[dict[str, Any]]) -> Path:
    """results/DATE_CARD, with a number behind it where there is one of that name."""
    known = [row["card"] for row in rows if row["part"] == CARD and "card" in row]
    card = re.sub(r"\W+", "-", known[0] if known else "unknown").strip("-").lower()
    first = Path("results") / f"{datetime.date.today()}_{card}"
    number, folder = 1, first
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}_{number}")
    return folder


def _tell(row: dict[str, Any]) -> None:
    """A line for whoever watches."""
    named = ("part", "name", "arch", "card", "direction", "dtype", "length")
    shown = [str(row[name]) for name in named if name in row]
    figures = ("equal", "ratio", "valid_bits_per_byte", "error")
    shown += [f"{name} {row[name]}" for name in figures if name in row]
    print(", ".join(shown), file=sys.stderr, flush=True)
