"""How a token stream is cut into windows so that every target is scored exactly once."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.model.base import IGNORE
from tmt.model.common_config import ModelConfig


class Tokens(Protocol):
    """Anything of token ids with a length and contiguous slices, such as a `tmt.tokens.TokenStream`."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> npt.NDArray[np.int64]: ...


@dataclass(frozen=True)
class Window:
    """One forward pass: `length` inputs from position `start`, of which the last `scored` targets count."""

    start: int
    length: int
    scored: int


def check_windows(tokens: Tokens, context: int, stride: int, config: ModelConfig) -> None:
    """Raise InputError unless 1 <= stride <= context <= the model's limit and there is a target to score."""
    if not 1 <= context <= config.longest:
        raise InputError(f"context={context} must be in [1, {config.longest}]; the model has {config.limit}")
    if not 1 <= stride <= context:
        raise InputError(f"stride={stride} must be in [1, {context}], the context")
    if len(tokens) < 2:
        raise InputError(f"scoring needs a stream of at least 2 tokens, got {len(tokens)}")


def windows(targets: int, context: int, stride: int) -> Iterator[Window]:
    """Windows over a stream of `targets` + 1 tokens.

    Each starts `stride` after the last and scores the targets that were not scored yet: all of them in
    the first window, `stride` in the others, what is left in the last, which may be shorter.
    """
    start = scored = 0
    while scored < targets:
        end = min(start + context, targets)
        yield Window(start, end - start, end - scored)
        start, scored = start + stride, end


def batches(cut: Iterator[Window], size: int) -> Iterator[list[Window]]:
    """Up to `size` consecutive windows of equal length at a time, so that nothing needs padding."""
    for _, same in groupby(cut, key=lambda window: window.length):
        while batch := list(islice(same, size)):
            yield batch


def read_batch(tokens: Tokens, batch: list[Window]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Inputs and targets of the windows, int64 (B, T) each; targets that do not count are −100."""
    rows = np.stack([tokens[w.start : w.start + w.length + 1] for w in batch])
    targets = rows[:, 1:].copy()
    for row, window in zip(targets, batch, strict=True):
        row[: window.length - window.scored] = IGNORE
    return rows[:, :-1], targets
