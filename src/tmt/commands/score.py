"""`tmt score`: a run's loss on a stream that it may learn from as it goes, by rules that can be checked."""

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from tmt.adaptive import (
    MemoryBank,
    NeuralCacheSettings,
    OwnPart,
    PassSettings,
    ScoreSettings,
    TapInSettings,
    Task,
    TrainingSettings,
    adaptive_report,
    audit_run,
)
from tmt.checkpoint import Run, checked_device, load_run
from tmt.commands.report import tell, tell_unspelt
from tmt.commands.score_comparison import require_alike
from tmt.commands.score_tables import show_scores
from tmt.evaluate.scored_text import scored_text
from tmt.evaluate.text_size import spelt_share, text_bytes
from tmt.options.score import ScoreOptions
from tmt.training.distributed import Ranks
from tmt.writer_lock import sole_writer


def score(options: ScoreOptions) -> None:
    """Run the command."""
    with sole_writer(options.out) if options.out is not None else nullcontext():
        _score(options)


def _score(options: ScoreOptions) -> None:
    device = checked_device(options.device)
    runs = [load_run(options.run, str(device), options.set)]
    if options.baseline is not None:
        runs.append(load_run(options.baseline, str(device)))
    settings = [_settings(run, options, main=run is runs[0]) for run in runs]
    tasks = [_task(run, options, name) for run, name in zip(runs, ("run", "baseline"), strict=False)]
    if len(runs) == 2:
        require_alike(runs, settings, tasks)
    ranks = Ranks(device)
    try:
        records = _records(runs, settings, tasks, options, ranks)
    except KeyboardInterrupt:
        if ranks.first and options.out is not None:
            tell(f"stopped; the same command goes on from {options.out}")
        raise
    finally:
        ranks.close()
    if ranks.first:
        tell_unspelt({f"{record['data']} ({record['run']})": record["spelt"] for record in records})
        if options.json:
            print("\n".join(json.dumps(record, allow_nan=False) for record in records))
        else:
            show_scores(records)


def _records(
    runs: list[Run], settings: list[ScoreSettings], tasks: list[Task], options: ScoreOptions, ranks: Ranks
) -> list[dict[str, Any]]:
    """One for each run; what does not fit or breaks the rules is found before anything is scored."""
    jobs = list(zip(runs, settings, tasks, strict=True))
    findings = []
    for run, own, task in jobs:
        own.make_pass(run.model, task.tokens, run.tokenizer.eot_id, ranks, task.limit)
        findings.append(_audit(run, own, task, ranks) if options.audit else None)
    return [
        {
            "run": str(run.folder),
            "data": task.name,
            "split_tokens": len(task.tokens) - 1,
            "split_bytes": text_bytes(task.tokens, run.tokenizer, len(task.tokens) - 1, raw=task.raw_bytes),
            "audit": found,
            **adaptive_report(run, own, task, ranks),
        }
        for (run, own, task), found in zip(jobs, findings, strict=True)
    ]


def _audit(run: Run, settings: ScoreSettings, task: Task, ranks: Ranks) -> list[dict[str, Any]]:
    report = audit_run(run, settings, task.tokens, ranks)
    report.require()
    return [asdict(finding) for finding in report.findings]


def _settings(run: Run, options: ScoreOptions, main: bool) -> ScoreSettings:
    """What the options ask for; a baseline without a memory bank goes without."""
    window, stride, chunk = options.sizes(run.config)
    cut = PassSettings(window=window, stride=stride, chunk=chunk, batch_size=options.batch_size)
    training = None
    if options.ttt != "none":
        training = TrainingSettings(
            weights=options.ttt,
            lr=options.ttt_lr,
            epochs=options.ttt_epochs,
            pair_rows=options.hash_embedding,
        )
    tap_in = None
    if options.tap_in != "none":
        tap_in = TapInSettings(
            mode=options.tap_in, min_match=options.min_match, weights=options.tap_in_weights
        )
    return ScoreSettings(
        cut=cut,
        training=training,
        memory=options.memory and (main or MemoryBank.fits(run.model)),
        cache=NeuralCacheSettings(entries=options.cache) if options.cache else None,
        tap_in=tap_in,
        own=None if options.part is None else OwnPart.of(options.part),
    )


def _task(run: Run, options: ScoreOptions, name: str) -> Task:
    text = scored_text(run, options.data, options.split)
    for line in text.notes:
        tell(line)
    return Task(
        tokens=text.tokens,
        name=text.name,
        limit=options.limit,
        minutes=options.minutes,
        gains=options.gains,
        raw_bytes=options.raw_bytes,
        spelt=spelt_share(text.splits, text.part, run.tokenizer),
        folder=None if options.out is None else options.out / name,
    )
