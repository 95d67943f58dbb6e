"""Which text a run is scored on: a part of its own corpus, or a text that was held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tmt.checkpoint import Run
from tmt.config import DataConfig
from tmt.errors import InputError
from tmt.evaluate.report import evaluate_run
from tmt.text import Part
from tmt.tokens import TokenSplits, TokenStream
from tmt.tokens.public_shards import find_shards


@dataclass(frozen=True)
class ScoredText:
    """Tokens, and where they come from."""

    source: str
    """What the user calls the text."""
    splits: TokenSplits
    part: Part
    notes: Sequence[str] = ()
    """What a reader should know of how it was read, a line each."""

    @property
    def tokens(self) -> TokenStream:
        """Of the part."""
        return getattr(self.splits, self.part)

    @property
    def name(self) -> str:
        """Of the part, in words."""
        return part_of(self.source, self.part)


def scored_text(run: Run, data: str | None, part: Part | None) -> ScoredText:
    """The named part of a text.

    Args:
        run: what is scored.
        data: a corpus; None: the run's own.
        part: None: the test split of the run's own corpus and of one that names its splits itself; all of
            any other text, of which the run has seen nothing.

    Raises:
        InputError: the text cannot be opened, or is too short for that part.
    """
    is_own = data is None or _is_own(run, data)
    config = run.config.data if data is None else _read_as(run, data, is_own)
    source = config.open()
    if part is None:
        part = "test" if is_own or source.names_splits else "all"
    splits = source.whole(run.tokenizer) if part == "all" else source.tokens(run.tokenizer)
    notes = [] if data is None else [*splits.notes]
    if part == "test" and part not in splits.documents:
        notes.append(f"{source.name} has no test files: scoring the validation split")
        part = "valid"
    return ScoredText(source.name, splits, part, notes)


def evaluate_text(
    run: Run, text: ScoredText, *, context: int | None = None, **options: Any
) -> dict[str, Any]:
    """The record of :func:`tmt.evaluate.evaluate_run`, with `arch` and the name of the text, `data`.

    Args:
        run: what is scored.
        text: where.
        context: None: the length that the run was trained on.
        options: as for `evaluate_run`.

    Raises:
        InputError, LeakError: as `evaluate_run`.
    """
    context = run.config.train.seq_len if context is None else context
    scored = evaluate_run(run.model, run.tokenizer, text.splits, split=text.part, context=context, **options)
    return {"arch": run.config.arch, "data": text.source, **scored}


def part_of(text: str, part: str) -> str:
    """A part of a text, in words."""
    return f"all of {text}" if part == "all" else f"{text}, {part} split"


def _is_own(run: Run, data: str) -> bool:
    """Whether a text, read as the run read its corpus, has the same content, under whatever name."""
    try:
        config = _read_as(run, data, is_own=True)
        known = run.config.corpus or run.config.data.open().tokens(run.tokenizer).key
        return config.open().tokens(run.tokenizer).key == known
    except InputError:
        return False  # the run's own is not there, or this one cannot be split


def _read_as(run: Run, data: str, is_own: bool) -> DataConfig:
    """A text in the form of the run's corpus; whole, unless it is that corpus. Tokens have no such form."""
    own = replace(run.config.data, source=data)
    if is_own:
        return own
    if data != "sotu" and find_shards(data) is not None:
        return DataConfig(source=data)
    return replace(own, max_bytes=None, valid=None, test=None)
