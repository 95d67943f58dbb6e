"""A run's score as plain windows give it and as it adapts, side by side, with the gain of every part."""

import copy
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tmt.adaptive.audit import AUDIT_TOKENS, AuditReport, audit, audit_settings
from tmt.adaptive.scoring import AdaptivePass
from tmt.adaptive.session import Session, identity
from tmt.adaptive.settings import ScoreSettings
from tmt.checkpoint import Run
from tmt.evaluate.measures import perplexity
from tmt.evaluate.report import finite
from tmt.evaluate.text_size import bytes_of, raw_text_bytes, require_raw_bytes, target_bytes
from tmt.evaluate.windows import Tokens
from tmt.model.base import LanguageModel
from tmt.tokens import TokenStream
from tmt.training.distributed import Ranks

MAIN = "adapted"


@dataclass(frozen=True)
class Task:
    """What is scored, beside the run and the settings."""

    tokens: TokenStream
    name: str
    """Of the stream."""
    limit: int | None = None
    """Score only so many targets, from the start."""
    minutes: float | None = None
    """Time of the adapted pass; what it does not reach is left out of every pass."""
    gains: bool = False
    """Also score every part alone and all but every part."""
    raw_bytes: bool = False
    """Charge each target with the raw text it stands for, not with what it spells."""
    spelt: float | None = None
    """Share of the raw text that the tokens can spell, where that is known."""
    folder: Path | None = None
    """Where scores are kept, so that an interrupted one goes on."""


def adaptive_report(run: Run, settings: ScoreSettings, task: Task, ranks: Ranks) -> dict[str, Any]:
    """Score a run with all its parts, then without.

    Returns:
        A record that JSON can hold; `part_code_bytes` is the size of a part of the user's.
        Every entry of its `passes` scores the same targets; `stages` are the
        nats per token of the model and after each part in turn.

    Raises:
        InputError: settings, model and stream do not fit, the folder holds another score, or raw bytes are
            asked for and not known.
        KeyboardInterrupt: after Ctrl-C; what was scored is in the folder.
    """
    if task.raw_bytes:
        require_raw_bytes(task.tokens, run.tokenizer)
    main = _run_pass(run, settings, MAIN, task, ranks)
    if not main["complete"]:
        folder = None if task.folder is None else task.folder / f"first-{main['tokens']}"
        task = replace(task, limit=main["tokens"], folder=folder)
    others = {"static": settings.static(), **(settings.variants() if task.gains else {})}
    task = replace(task, minutes=None)
    passes = {name: _run_pass(run, other, name, task, ranks) for name, other in others.items()}
    static = passes["static"]["ppl"]
    return {
        "arch": run.config.arch,
        "params": run.model.param_count(),
        "window": settings.cut.window,
        "stride": settings.cut.stride,
        "chunk": settings.cut.chunk,
        "parts": list(settings.parts),
        "part_code_bytes": settings.own.code_bytes if settings.own else 0,
        "bytes_of": bytes_of(run.tokenizer, raw=task.raw_bytes),
        "spelt": task.spelt,
        "complete": main["complete"],
        "ppl_change": None if None in (main["ppl"], static) else main["ppl"] / static - 1,
        "passes": {**passes, MAIN: main},
    }


def audit_run(run: Run, settings: ScoreSettings, tokens: Tokens, ranks: Ranks) -> AuditReport:
    """Watch a run's parts keep the rules, or not, on the first tokens of a stream; see :func:`audit`.

    In the number format of its weights, which is what scores, and in float64.

    Raises:
        InputError: the stream is too short, or there are several ranks.
    """
    short = replace(settings, cut=audit_settings(run.config.model))

    def audited(model: LanguageModel) -> AuditReport:
        def make(stream: Tokens) -> AdaptivePass:
            return short.make_pass(copy.deepcopy(model), stream, run.tokenizer.eot_id, ranks)

        return audit(make, tokens[:AUDIT_TOKENS])

    return audited(run.model).beside(audited(copy.deepcopy(run.model).double()))


def _run_pass(run: Run, settings: ScoreSettings, name: str, task: Task, ranks: Ranks) -> dict[str, Any]:
    scoring = settings.make_pass(run.model, task.tokens, run.tokenizer.eot_id, ranks, task.limit)

    def sizes(start: int, stop: int) -> Any:
        return target_bytes(task.tokens, run.tokenizer, start, stop, raw=task.raw_bytes)

    folder = None if task.folder is None else task.folder / name.replace(" ", "-")
    key = identity(scoring, run.model, settings, run.tokenizer.eot_id, sizes) if folder else ""
    session = Session(scoring, sizes, folder, key)
    session.run(name, task.minutes)
    done = session.progress
    nats, bits = done.nats[-1] / done.targets, done.nats[-1] / math.log(2)
    raw_bytes = raw_text_bytes(task.tokens, run.tokenizer, done.targets)
    stages = ("model", *(part.name for part in scoring.parts))
    return {
        "tokens": done.targets,
        "of_tokens": scoring.targets,
        "bytes": done.bytes,
        "complete": session.complete,
        "nats": finite(nats),
        "ppl": finite(perplexity(nats)),
        "bpb": finite(bits / done.bytes) if done.bytes else None,
        "raw_bytes": raw_bytes,
        "raw_bpb": finite(bits / raw_bytes) if raw_bytes else None,
        "stages": {
            stage: finite(total / done.targets) for stage, total in zip(stages, done.nats, strict=True)
        },
        "elapsed": done.elapsed,
        "seconds": done.seconds,
        "figures": session.figures,
    }
