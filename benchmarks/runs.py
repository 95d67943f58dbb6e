"""What the benchmark scripts share: a `tmt` command run, and records kept one JSON object a line."""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch

from tmt.code_version import code_version

Name = TypeVar("Name")


def tmt(arguments: list[str], log: Path | None = None) -> str:
    """Standard output of a `tmt` command, which is also added to `log`; ends the program where it fails."""
    done = subprocess.run([sys.executable, "-m", "tmt", *arguments], capture_output=True, encoding="utf-8")
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ tmt {' '.join(arguments)}\n{done.stderr}{done.stdout}\n")
    if done.returncode:
        sys.exit(f"tmt {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def train_and_score(
    arguments: list[str], log: Path, keep: Path | None = None, pack: bool = False
) -> dict[str, Any]:
    """Train a run; its scores on validation, and with `pack` those of its artifact.

    The run goes to the folder `keep` and its artifact to `keep`.tmt, or both nowhere where it is None.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = str(keep or f"{folder}/run")
        artifact = f"{run}.tmt"
        tmt(["train", "--out", run, *arguments], log)
        record = json.loads(tmt(["eval", run, "--split", "valid", "--json"]))
        lines = [
            json.loads(line)
            for line in (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        record["steps"] = lines[-1]["step"]
        record["speed"] = max((line.get("tokens_per_second", 0) for line in lines), default=0)
        if pack:
            record["pack"] = json.loads(tmt(["pack", run, "--out", artifact, "--json"], log))
            packed = json.loads(tmt(["eval", artifact, "--split", "valid", "--json"]))
            record["packed_nats"], record["packed_bpb"] = packed["nats"], packed["bpb"]
    record["machine"] = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return record


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
