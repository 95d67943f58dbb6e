"""The options of `tmt study`."""

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from tmt import machine
from tmt.errors import InputError
from tmt.options import Options
from tmt.options.study_file import Job, Study, read_study, require_known

STUDY = "study.yaml"
"""The study file in a folder of records."""


@dataclass(frozen=True)
class StudyOptions(Options):
    """Train and score every run of a study file with every seed, and compare them with intervals."""

    study: Path
    """A study file (YAML); with --table, the folder of records that --out named."""
    out: Path | None = None
    """Folder for a small record of every run, and the tables; runs that are there already are left alone."""
    slots: int = 1
    """Runs side by side, each in one thread on a core of its own."""
    work: Path | None = None
    """Where weights lie while they are needed; default: runs/studies/ and the name of --out."""
    only: str | None = None
    """One run, by the name of its folder (RUN-SEED): do it in this process and make no table."""
    keep: bool = False
    """Leave the weights there when a run is scored."""
    dry_run: bool = False
    """Say what it would cost, after timing a few steps, and stop."""
    table: bool = False
    """Write the tables again from the records."""
    plot: bool = False
    """Also draw differences, losses by context and learning curves into the folder."""

    def __post_init__(self):
        """Refuse what contradicts itself or is not installed."""
        cores = machine.usable_cores()
        if not 1 <= self.slots <= cores:
            raise InputError(f"slots={self.slots} must be in [1, {cores}]: each takes a core of its own")
        if self.out is None and not (self.table or self.dry_run):
            raise InputError("name a folder for the records with --out, such as results/2026-12-01_lengths")
        for package, wanted in (("scipy", not self.dry_run), ("matplotlib", self.plot)):
            if wanted and find_spec(package) is None:
                raise InputError(f'studies need {package}: pip install "temporalmesh-transformer[study]"')

    @cached_property
    def content(self) -> Study:
        """The study; InputError where its file has a mistake."""
        return read_study(self.file)

    @property
    def file(self) -> Path:
        """The study file."""
        return self.study / STUDY if self.study.is_dir() else self.study

    @property
    def job(self) -> Job:
        """What --only names."""
        jobs = {job.slug: job for job in self.content.jobs}
        require_known([self.only], jobs, "run")
        return jobs[str(self.only)]

    @property
    def folder(self) -> Path:
        """Where the records are."""
        if self.table:
            return self.study
        return self.out or Path()

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.table and not self.study.is_dir():
            raise InputError(f"{self.study} is no folder of records; name the one that --out named")
        (kind, _), *_ = self.content.budget.items()
        if kind == "minutes" and self.slots > 1:
            raise InputError(
                "budget: runs that share the machine have no fair minutes; leave --slots out, or give the "
                "budget in core_minutes"
            )
        if self.only is not None:
            _ = self.job
        if not self.table:
            self.content.jobs[0].config.data.check()
