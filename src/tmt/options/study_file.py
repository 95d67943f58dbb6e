"""A study file: which runs with which seeds on what budget, how each is scored, and what is compared."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import yaml

from tmt.budget import BUDGETS
from tmt.config import RunConfig, build
from tmt.errors import InputError, unknown
from tmt.options import Options
from tmt.options.evaluate import EvaluateOptions
from tmt.options.pack import PackOptions
from tmt.options.score import ScoreOptions
from tmt.options.train import TrainOptions, resolve

COMMANDS: dict[str, type[Options]] = {
    "train": TrainOptions,
    "eval": EvaluateOptions,
    "score": ScoreOptions,
    "pack": PackOptions,
}
"""What a run is trained with, and what can be done with it then."""
SCORES = ("eval", "score", "pack")
OWN = {"out", "resume", "seed", "json", "run", "baseline", *BUDGETS}
"""Options of a command that the study sets itself."""


@dataclass(frozen=True)
class Evaluation:
    """One command on a trained run."""

    name: str
    command: Literal["eval", "score", "pack"]
    options: dict[str, Any]
    artifact: bool
    """Whether it reads the artifact of an earlier `pack` instead of the run."""
    runs: tuple[str, ...]
    """Names of the runs that get it."""


@dataclass(frozen=True)
class Job:
    """One run of the table with one seed."""

    name: str
    seed: int
    options: dict[str, Any]
    """Of `tmt train`, as in a recipe file, seed and budget included."""
    evaluations: tuple[Evaluation, ...]

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return f"{slug(self.name)}-{self.seed}"

    @cached_property
    def config(self) -> RunConfig:
        """What the options resolve to, but for the vocabulary; InputError where they do not."""
        return resolve(build(TrainOptions, self.options, "option of tmt train"), vocab_size=2)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The content of a study file. InputError names the place of a mistake."""

    base: str
    """The run that every other one is compared with."""
    seeds: list[int]
    """Seeds of every run that has no `seeds` of its own."""
    budget: dict[str, int | float]
    """One of steps, tokens, flops, minutes and core_minutes, and how much; the same for every run."""
    runs: dict[str, dict[str, Any] | None]
    """Options of `tmt train` by the name of the run."""
    evaluations: dict[str, dict[str, Any] | None]
    """Options of `tmt eval` by the name of the score, in the order in which they are made; `command: score`
    or `pack` for another command, `artifact: true` for what was packed before, `runs: [...]` for a few."""
    about: str = ""
    """What the study is to decide."""
    train: dict[str, Any] = field(default_factory=dict)
    """Options of every run."""
    grid: dict[str, dict[str, dict[str, Any] | None]] = field(default_factory=dict)
    """Axes, each with options by the name of the choice: every run is made with every combination."""
    compare: list[str] = field(default_factory=list)
    """Evaluations whose differences are tested; default: the first one."""
    contrasts: dict[str, dict[str, float]] = field(default_factory=dict)
    """Further comparisons: weights of runs that add up to zero, such as an interaction."""
    pooled: bool = False
    """Take the spread of all runs together for that of each, after run and seed have been taken out."""

    def __post_init__(self):
        """Validate everything."""
        with at("budget"):
            if len(self.budget) != 1:
                raise InputError(f"give one of {', '.join(BUDGETS)} and no other")
            require_known(self.budget, BUDGETS, "budget")
        with at("seeds"):
            if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
                raise InputError("give at least one, each once, none below zero")
        self._check_names()
        once = {job.name: job for job in self.jobs}
        for job in once.values():
            with at(job.name):
                self._check_scores(job)
        self._check_budgets({name: job.config for name, job in once.items()})

    @cached_property
    def jobs(self) -> list[Job]:
        """Every run with every seed, the first seed of all runs first."""
        runs = self.options
        own = {name: options.pop("seeds", self.seeds) for name, options in runs.items()}
        order = list(dict.fromkeys([*self.seeds, *(seed for seeds in own.values() for seed in seeds)]))
        return [self._job(name, runs[name], seed) for seed in order for name in runs if seed in own[name]]

    @cached_property
    def names(self) -> list[str]:
        """The runs in the order of the file."""
        return list(self.options)

    @property
    def compared(self) -> list[str]:
        """Names of the evaluations whose differences are tested."""
        return self.compare or list(self.evaluations)[:1]

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Of every run, the grid multiplied out."""
        cells = list(product(*(choices.items() for choices in self.grid.values())))
        return {
            ", ".join([name, *(choice for choice, _ in cell)]): merged(
                self.train, options, *(change for _, change in cell)
            )
            for name, options in self.runs.items()
            for cell in cells
        }

    def _job(self, name: str, options: dict[str, Any], seed: int) -> Job:
        (kind, amount), *_ = self.budget.items()
        with at(name):
            overrides = {name.partition("=")[0].removeprefix("train.") for name in options.get("set", [])}
            taken = OWN & (options.keys() | overrides)
            if taken:
                raise InputError(f"{min(taken)} is set by the study itself; leave it out here")
        budget = [f"train.{kind}={amount}", f"train.seed={seed}"]
        scores = tuple(evaluation for evaluation in self.scores if name in evaluation.runs)
        return Job(name, seed, {**options, "set": [*options.get("set", []), *budget]}, scores)

    @cached_property
    def scores(self) -> list[Evaluation]:
        """The evaluations in the order of the file."""
        found: list[Evaluation] = []
        for name, given in self.evaluations.items():
            options = dict(given or {})
            command, artifact = options.pop("command", "eval"), options.pop("artifact", False)
            runs = tuple(options.pop("runs", self.names))
            with at(f"evaluations.{name}"):
                require_known([command], SCORES, "command")
                require_known(runs, self.names, "run")
                taken = OWN & options.keys()
                if taken:
                    raise InputError(f"{min(taken)} is set by the study itself; leave it out here")
                build(COMMANDS[command], {**options, "run": "run"}, f"option of tmt {command}")
                if artifact and "pack" not in [one.command for one in found]:
                    raise InputError("artifact: true needs an evaluation with command: pack before it")
            found.append(Evaluation(name, command, options, artifact, runs))
        return found

    def _check_names(self) -> None:
        with at("runs"):
            slugs: dict[str, str] = {}
            for name in self.names:
                same = slugs.setdefault(slug(name), name)
                if same != name:
                    raise InputError(f"{name!r} cannot be told from {same!r}")
                if not slug(name) or "|" in name:
                    raise InputError(f"{name!r} is no name; give it letters, and no |")
        for place, wanted, known in (
            ("base", [self.base], self.names),
            ("compare", self.compare, list(self.evaluations)),
            *((f"contrasts.{name}", weights, self.names) for name, weights in self.contrasts.items()),
        ):
            with at(place):
                require_known(wanted, known, "evaluation" if place == "compare" else "run")
        for name, weights in self.contrasts.items():
            if name in self.names:
                raise InputError(f"contrasts.{name}: a run has that name")
            if abs(sum(weights.values())) > 1e-9:
                raise InputError(f"contrasts.{name}: the weights must add up to zero")

    def _check_scores(self, job: Job) -> None:
        """The windows fit the model."""
        longest = job.config.model.longest
        for evaluation in job.evaluations:
            length = evaluation.options.get("context", evaluation.options.get("window"))
            if length is not None and length > longest:
                raise InputError(
                    f"evaluation {evaluation.name!r} reads {length} tokens at once, the model takes "
                    f"{longest}: raise its limit, or name the runs that can with `runs: [...]`"
                )

    def _check_budgets(self, configs: dict[str, RunConfig]) -> None:
        """Pairs see the same text for the same budget."""
        (kind, amount), *_ = self.budget.items()
        first = configs[self.base]
        for name, config in configs.items():
            step = config.train.tokens_per_step
            with at(name):
                if (config.data.source, config.data.max_bytes) != (first.data.source, first.data.max_bytes):
                    raise InputError(f"it reads another text than {self.base}; pairs need the same")
                if kind == "steps" and step != first.train.tokens_per_step:
                    raise InputError(
                        f"{amount} steps of {step} tokens are not the budget of {self.base}, with "
                        f"{first.train.tokens_per_step} tokens a step; give the budget in tokens"
                    )
                if kind == "tokens" and amount % step:
                    raise InputError(f"{amount} tokens are no whole number of steps of {step} tokens")


def read_study(path: Path) -> Study:
    """The study in a file; InputError, on one line with the place, for whatever is wrong with it."""
    with at(str(path)):
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
        except (OSError, UnicodeError) as error:
            raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
        except yaml.YAMLError as error:
            raise InputError(" ".join(str(error).split())) from error
        if not isinstance(content, dict):
            raise InputError("is no study: it must be a mapping with base, seeds, budget, runs, evaluations")
        missing = {"base", "seeds", "budget", "runs", "evaluations"} - content.keys()
        if missing:
            raise InputError(f"{min(missing)} is missing")
        return build(Study, content, "study")


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say in an InputError where it was."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def require_known(names: Any, known: Any, kind: str) -> None:
    """InputError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise unknown(kind, str(name), known)


def slug(name: str) -> str:
    """The name as part of a file name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


def merged(*layers: dict[str, Any] | None) -> dict[str, Any]:
    """Options, later ones first; lists are added up, mappings merged."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in (layer or {}).items():
            before = result.get(name)
            if isinstance(before, list) and isinstance(value, list) and name != "seeds":
                value = [*before, *value]
            elif isinstance(before, dict) and isinstance(value, dict):
                value = {**before, **value}
            result[name] = value
    return result


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a name given twice is a mistake."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {key.value!r} is there twice")
            seen.add(str(key.value))
        return node
