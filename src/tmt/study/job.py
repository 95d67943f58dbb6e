"""One run of a study: trained, scored while its weights are there, kept as a record."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tmt.errors import InputError
from tmt.options.study_file import Evaluation, Job, Study
from tmt.study.record import Record, plain, read_record, settings, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

Tmt = Callable[[str, dict[str, Any]], str]
"""Runs a `tmt` command with options; returns what it prints."""
STATE = "last/training.safetensors"
"""What a run folder has once it can be resumed."""


@dataclass(frozen=True)
class Places:
    """Where a study keeps things."""

    records: Path
    work: Path
    keep: bool
    """Whether weights stay when they have been scored."""

    def record(self, job: Job) -> Record:
        """See :func:`read_record`."""
        return read_record(self.records, job)

    def leftovers(self, job: Job) -> bool:
        """Whether weights are there that should not stay."""
        return not self.keep and (self.work / job.slug).exists()

    def check(self, study: Study) -> None:
        """InputError where what is left to do cannot be done, or a record is of another study."""
        for job in study.jobs:
            record = self.record(job)
            lacks = record.lacks(job)
            if record.training and lacks and not (self.work / job.slug).exists():
                raise InputError(
                    f"{self.records / job.slug} has no weights left for {lacks[0].name!r}: take that out of "
                    "the study, or remove the folder to train the run again"
                )


def work_off(job: Job, places: Places, tmt: Tmt) -> None:
    """Do what the record of a job lacks, every step kept as soon as it is done.

    Another process that works on the same job is waited for.
    """
    work, folder = places.work / job.slug, places.records / job.slug
    with _locked(places.work / f"{job.slug}.lock"):
        record = places.record(job)
        if not record.done(job):
            record.sign()
            record.failed = None
            record.save(folder)
            if not record.training:
                _train(job, record, work / "run", folder, tmt)
            for evaluation in record.lacks(job):
                record.evaluations[evaluation.name] = _evaluate(evaluation, work, tmt)
                record.save(folder)
        if not places.keep:
            shutil.rmtree(work, ignore_errors=True)


def _train(job: Job, record: Record, run: Path, folder: Path, tmt: Tmt) -> None:
    """Train, or go on where an earlier attempt was cut off."""
    resume = (run / STATE).exists()
    if not resume:
        shutil.rmtree(run, ignore_errors=True)
    tmt("train", {**job.options, "out": str(run), "resume": resume})
    metrics = (run / "metrics.jsonl").read_text(encoding="utf-8")
    write_whole(folder / "metrics.jsonl", metrics)
    last = [line for line in map(json.loads, metrics.splitlines()) if "valid_nats" in line][-1]
    record.config = plain(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
    record.training = {("steps" if name == "step" else name): value for name, value in last.items()}
    record.save(folder)


def _evaluate(evaluation: Evaluation, work: Path, tmt: Tmt) -> dict[str, Any]:
    """What one command says of the trained run."""
    artifact = work / "artifact.tmt"
    run = artifact if evaluation.artifact else work / "run"
    options = {**evaluation.options, "run": str(run), "json": True}
    if evaluation.command == "pack":
        options["out"] = str(artifact)
    printed = json.loads(tmt(evaluation.command, options))
    result = printed[0] if isinstance(printed, list) else printed
    result.pop("tensors", None)
    return {"settings": settings(evaluation), "result": result}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that no other process has; it goes with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
