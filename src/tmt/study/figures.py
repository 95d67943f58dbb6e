"""The finished records of a study, and the figures that tables and pictures take from them."""

from pathlib import Path
from typing import Any

import numpy as np

from tmt.options.study_file import Study
from tmt.study.record import Record, read_record

Figures = dict[str, Any]


class Findings:
    """What a study has found so far.

    Attributes:
        records: of every run that is done, by its name and seed, in the order of the file.
        failures: a line for every run that failed.
        unfinished: how many others are not done.
    """

    def __init__(self, study: Study, folder: Path) -> None:
        """InputError where a record is damaged or belongs to another study."""
        self.study = study
        jobs = [(job, read_record(folder, job)) for job in study.jobs]
        self.records: dict[str, dict[int, Record]] = {
            name: {job.seed: record for job, record in jobs if job.name == name and record.done(job)}
            for name in study.names
        }
        self.failures = [f"{r.name}, seed {r.seed}: {r.failed}" for _, r in jobs if r.failed]
        self.unfinished = sum(not record.done(job) and not record.failed for job, record in jobs)

    @property
    def every(self) -> list[Record]:
        """All records that are done."""
        return [record for seeds in self.records.values() for record in seeds.values()]

    @property
    def labels(self) -> list[str]:
        """Names of all scores: of an evaluation, or of each pass of one that adapts."""
        order = {e.name: i for i, e in enumerate(self.study.scores)}
        found = {label: order[evaluation] for record in self.every for label, evaluation in _labels(record)}
        return sorted(found, key=lambda label: found[label])

    @property
    def compared(self) -> list[str]:
        """Those whose differences are tested."""
        wanted = self.study.compared
        pairs = {label: evaluation for record in self.every for label, evaluation in _labels(record)}
        return [label for label in self.labels if pairs[label] in wanted]

    @property
    def comparisons(self) -> int:
        """How many differences are tested in all."""
        return max(1, (len(self.study.names) - 1 + len(self.study.contrasts)) * len(self.compared))

    @property
    def contrasts(self) -> dict[str, dict[str, float]]:
        """Weights of every comparison by its name; a run's own name for its difference from the base."""
        base = self.study.base
        differences = {name: {name: 1.0, base: -1.0} for name in self.study.names if name != base}
        return {**differences, **self.study.contrasts}

    def scores(self, label: str, measure: str) -> dict[str, dict[int, Any]]:
        """A figure of every run and seed that has it."""
        return {
            name: {
                seed: figures[label][measure]
                for seed, record in seeds.items()
                if (figures := figures_of(record)) and figures.get(label, {}).get(measure) is not None
            }
            for name, seeds in self.records.items()
        }

    def average(self, name: str, label: str, measure: str) -> float | None:
        """The mean over seeds; None without any."""
        values = list(self.scores(label, measure)[name].values())
        return float(np.mean(values)) if values else None

    def spent(self, name: str, measure: str) -> float | None:
        """The mean over seeds of what training took."""
        values = [r.training[measure] for r in self.records[name].values() if measure in r.training]
        return float(np.mean(values)) if values else None


def figures_of(record: Record) -> dict[str, Figures]:
    """Figures of every score of a record, by its label."""
    found = {}
    for name, made in record.evaluations.items():
        result = made["result"]
        if "passes" in result:
            found |= {f"{name}, {label}": figures for label, figures in result["passes"].items()}
        else:
            found[name] = result
    return found


def _labels(record: Record) -> list[tuple[str, str]]:
    """Labels of the scores in nats, with the name of the evaluation of each."""
    pairs = []
    for name, made in record.evaluations.items():
        if "passes" in made["result"]:
            pairs += [(f"{name}, {label}", name) for label in made["result"]["passes"]]
        elif "nats" in made["result"]:
            pairs.append((name, name))
    return pairs
