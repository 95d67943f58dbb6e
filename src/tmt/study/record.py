"""The record of one run: what it was made with, and every figure that a table needs."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tmt import machine
from tmt.code_version import code_version
from tmt.errors import InputError
from tmt.options.study_file import Evaluation, Job
from tmt.whole_file import replaced

RECORD = "record.json"


@dataclass
class Record:
    """One run with one seed, as far as it has come."""

    name: str
    seed: int
    options: dict[str, Any]
    """Of `tmt train`."""
    commits: list[str] = field(default_factory=list)
    """Of the code that worked on it."""
    machines: list[dict[str, Any]] = field(default_factory=list)
    """That it was made on."""
    config: dict[str, Any] = field(default_factory=dict)
    """The run folder's configuration."""
    training: dict[str, Any] = field(default_factory=dict)
    """What the budget bought: steps, tokens, seconds, flops; empty until it is spent."""
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: the command, its options, and its result."""
    failed: str | None = None
    """The last line of the command that failed."""

    def lacks(self, job: Job) -> list[Evaluation]:
        """Evaluations of the job that are not made yet."""
        return [evaluation for evaluation in job.evaluations if evaluation.name not in self.evaluations]

    def done(self, job: Job) -> bool:
        """Whether nothing of the job is left to do."""
        return bool(self.training) and not self.lacks(job)

    def save(self, folder: Path) -> None:
        """Write it at one stroke; InputError where that fails."""
        write_whole(folder / RECORD, json.dumps(asdict(self), indent=1, allow_nan=False) + "\n")

    def sign(self) -> None:
        """Add this code and this machine."""
        self.commits = [*dict.fromkeys([*self.commits, code_version()])]
        here = machine.description()
        self.machines = self.machines if here in self.machines else [*self.machines, here]


def read_record(folder: Path, job: Job) -> Record:
    """The record of a job, a new one where there is none.

    Raises:
        InputError: it is damaged, or of a run with other settings.
    """
    path = folder / job.slug / RECORD
    if not path.exists():
        return Record(job.name, job.seed, job.options)
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if record.config.get("code") not in (None, job.config.code):
        raise InputError(
            f"{path} was made with other code of {job.options['arch']}; take the change back, or name "
            "another folder with --out"
        )
    wanted = {e.name: settings(e) for e in job.evaluations}
    found = {name: made["settings"] for name, made in record.evaluations.items() if name in wanted}
    for what, old, new in [("options", record.options, job.options)] + [
        (f"evaluation {name!r}", old, wanted[name]) for name, old in found.items()
    ]:
        if old != plain(new):
            raise InputError(
                f"{path} was made with other {what}; take the change back, or name another folder with --out"
            )
    return record


def settings(evaluation: Evaluation) -> dict[str, Any]:
    """What tells an evaluation from others of its name."""
    return plain({"command": evaluation.command, "artifact": evaluation.artifact, **evaluation.options})


def plain(value: Any) -> Any:
    """What JSON makes of it."""
    return json.loads(json.dumps(value))


def write_whole(path: Path, text: str) -> None:
    """Replace a file at one stroke; InputError where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
