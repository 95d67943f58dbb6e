"""`tmt tasks`: what an architecture learns to copy, look up, and keep, on problems with known answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, get_args

from rich.console import Console

from tmt.checkpoint import checked_device, load_config, load_run_tokenizer
from tmt.commands.report import tell
from tmt.config import build, parse_overrides
from tmt.errors import InputError, unknown
from tmt.tasks import TASKS
from tmt.tasks.information import EncoderKind, Information, InformationJob
from tmt.tasks.learn import Plan, TaskJob
from tmt.tasks.models import configure
from tmt.tasks.results import Job, Record, Results
from tmt.tasks.table import text_tables
from tmt.tokens import make_tokenizer, open_source

STDOUT = "-"
LIST = "list"
INFORMATION = "information"
CORPUS = "sotu"
ARCH = "tmt"
Number = TypeVar("Number", int, float)
KINDS: Mapping[str, type] = {**TASKS, INFORMATION: Information}


@dataclass(frozen=True)
class TasksOptions:
    """Train small models on a synthetic task, fresh sequences every step, and score them."""

    task: str
    """Which task; list: show them all."""
    arch: str | None = None
    """Architectures by name, commas between; default: tmt."""
    preset: str | None = None
    """Size: nano, small, medium, base or large; default: two layers of four heads and width 64 (128 for
    information)."""
    set: list[str] = field(default_factory=list)
    """Any model field, repeatable: model.d_model=128."""
    size: list[str] = field(default_factory=list)
    """Any size of the task, repeatable: pairs=16."""
    steps: int | None = None
    """Training steps; default: the task's own. Encoders and decoders of information take as many each."""
    batch_size: int | None = None
    """Sequences per step; default: 64, 32 for information."""
    lr: str | None = None
    """Learning rates, commas between: each is trained; default: 3e-3, 1e-3 for information."""
    seeds: str = "0"
    """Seeds of weights and sequences, commas between: each is trained."""
    encoder: Path | None = None
    """Run folder or artifact of the encoder of information; default: one is trained."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool | str = False
    """JSON lines on stdout instead of tables; with a file name, appended to it beside the tables, and
    what it holds already is not trained again."""


def tasks(options: TasksOptions) -> None:
    """Run the command; a record is written as soon as it is there, so Ctrl-C keeps those before it."""
    if options.task == LIST:
        _list()
        return
    if options.task not in KINDS:
        raise unknown("task", options.task, [*KINDS, LIST])
    jobs = list(_jobs(options))
    to_stdout = options.json in (True, STDOUT)
    results = Results(None if to_stdout or not options.json else Path(str(options.json)))
    records: list[Record] = []
    try:
        for job in jobs:
            record = results.find(job)
            if record is None:
                record = results.run(job)
                tell(_line(record))
            records.append(record)
            if to_stdout:
                print(json.dumps(record, allow_nan=False), flush=True)
    finally:
        if records and not to_stdout:
            for table in text_tables(records):
                Console().print(table)


def _list() -> None:
    width = max(map(len, KINDS))
    for name, kind in KINDS.items():
        print(f"{name:{width}}  {(kind.__doc__ or '').splitlines()[0]}")


def _jobs(options: TasksOptions) -> Iterator[Job]:
    """Every architecture, seed and learning rate; InputError before the first one is run."""
    task = build(KINDS[options.task], _sizes(options.size), f"task {options.task}")
    if isinstance(task, Information):
        yield from _information_jobs(options, task)
        return
    if options.encoder is not None:
        raise InputError(f"--encoder belongs to the task {INFORMATION}, not to {options.task}")
    plans = _plans(options, task.default_steps, batch_size=64, lr="3e-3")
    for arch in _names(options):
        config = configure(
            arch,
            options.preset,
            _overrides(options),
            vocab_size=task.vocab_size,
            length=task.length,
            d_model=64,
        )
        for plan in plans:
            yield TaskJob(options.task, task, arch, config, plan)


def _information_jobs(options: TasksOptions, sizes: Information) -> Iterator[Job]:
    plans = _plans(options, sizes.default_steps, batch_size=32, lr="1e-3")
    if options.encoder is None:
        tokenizer, source = make_tokenizer("bytes"), open_source(CORPUS)
        models = {
            arch: configure(
                arch, options.preset, _overrides(options),
                vocab_size=tokenizer.vocab_size, length=sizes.length, d_model=128,
            )
            for arch in _names(options)
        }  # fmt: skip
    else:
        if options.arch or options.preset or options.set:
            raise InputError("--encoder brings its own model: leave --arch, --preset and --set out")
        run, tokenizer = load_config(options.encoder), load_run_tokenizer(options.encoder)
        source = run.data.open()
        models = {run.arch: run.model}
        if sizes.length > run.model.longest:
            raise InputError(f"length={sizes.length} exceeds the encoder's {run.model.limit}")
    splits = source.tokens(tokenizer)
    for (arch, config), kind, plan in product(models.items(), get_args(EncoderKind), plans):
        yield InformationJob(sizes, kind, arch, config, plan, source.name, splits, options.encoder)


def _plans(options: TasksOptions, steps: int, *, batch_size: int, lr: str) -> list[Plan]:
    """Every seed at every learning rate."""
    device = checked_device(options.device)
    return [
        Plan(
            steps=steps if options.steps is None else options.steps,
            batch_size=batch_size if options.batch_size is None else options.batch_size,
            lr=rate,
            seed=seed,
            device=device,
        )
        for seed, rate in product(
            _numbers("seeds", options.seeds, int),
            _numbers("lr", lr if options.lr is None else options.lr, float),
        )
    ]


def _numbers(name: str, text: str, kind: type[Number]) -> list[Number]:
    try:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError as error:
        raise InputError(f"{name}={text!r} are not numbers with commas between") from error


def _names(options: TasksOptions) -> list[str]:
    return list(dict.fromkeys((options.arch or ARCH).split(",")))


def _overrides(options: TasksOptions) -> dict[str, Any]:
    """The model fields that are set."""
    sections = parse_overrides(options.set)
    for section in ("optim", "train"):
        if sections[section]:
            raise InputError(f"--set {section}.{next(iter(sections[section]))}: tasks take model fields only")
    return sections["model"]


def _sizes(assignments: list[str]) -> dict[str, str]:
    """`["pairs=16"]` to `{"pairs": "16"}`."""
    sizes = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not (name and equals and value):
            raise InputError(f"--size {assignment!r} is not of the form name=number")
        sizes[name] = value
    return sizes


def _line(record: Record) -> str:
    """A record in words."""
    name = " ".join(filter(None, (record["task"], record["arch"], record.get("encoder"))))
    score = "none" if record["score"] is None else f"{record['score']:.4f}"
    ending = ", diverged" if record["diverged"] else ""
    return (
        f"{name}, lr {record['lr']:g}, seed {record['seed']}: {record['score_name']} {score}, "
        f"{record['seconds']:.0f} s{ending}"
    )
