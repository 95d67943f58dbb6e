"""What two scores must have in common to stand in one table."""

import numpy as np

from tmt.adaptive import ScoreSettings, Task
from tmt.checkpoint import Run
from tmt.errors import InputError
from tmt.evaluate.text_size import bytes_of, text_bytes
from tmt.evaluate.windows import Tokens

PIECE = 2**16
"""Tokens that are compared at once."""


def require_alike(runs: list[Run], settings: list[ScoreSettings], tasks: list[Task]) -> None:
    """InputError where a run and its baseline would not be scored on the same text, in windows of one cut."""
    cuts = [(own.cut.window, own.cut.stride, own.cut.chunk) for own in settings]
    if cuts[0] != cuts[1]:
        told = " and ".join(f"{window}/{stride}/{chunk}" for window, stride, chunk in cuts)
        raise InputError(
            f"run and baseline would be cut otherwise, window/stride/chunk {told}: give all three by "
            "--window, --stride and --chunk"
        )
    a, b = tasks
    if _same_tokens(a.tokens, b.tokens) and _spelling(runs[0], a) == _spelling(runs[1], b):
        return
    if a.limit is not None:
        raise InputError(
            "run and baseline have other tokens or tokenizers, so that --limit would end their texts at "
            "different places: leave it out"
        )
    sizes = [_spelling(run, task) for run, task in zip(runs, tasks, strict=True)]
    if a.name != b.name or sizes[0] != sizes[1]:
        pairs = zip(tasks, sizes, strict=True)
        told = " and ".join(f"{task.name} ({size:,} bytes of {of})" for task, (of, size) in pairs)
        raise InputError(f"run and baseline would be scored on different texts, {told}: name one with --data")


def _spelling(run: Run, task: Task) -> tuple[str, int]:
    """Which bytes are charged for, and how many of them the stream has."""
    size = text_bytes(task.tokens, run.tokenizer, len(task.tokens) - 1, raw=task.raw_bytes)
    return bytes_of(run.tokenizer, raw=task.raw_bytes), size


def _same_tokens(a: Tokens, b: Tokens) -> bool:
    starts = range(0, len(a), PIECE)
    return len(a) == len(b) and all(np.array_equal(a[s : s + PIECE], b[s : s + PIECE]) for s in starts)
