"""The four rules, and how a pass that was watched stands to each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmt.adaptive.audit.veil import Veil
from tmt.adaptive.audit.witness import Witness
from tmt.evaluate.causality import LONGEST
from tmt.model.base import LanguageModel
from tmt.verify import check, subject_of
from tmt.verify.differences import distance

CHANGE, ROUGH_CHANGE = 1e-6, 1e-4
"""What a loss or the logarithm of a probability may move by when later tokens change: in float64, and in
float32, where rounding may depend on how many rows are computed together."""
ROUNDING = 1e-5
"""How far from 0 the logarithm of a sum of probabilities may be."""
APART = 1e-3
"""Nats by which nine of ten losses may differ from those in float64; a tie that rounding tips moves few."""


@dataclass(frozen=True)
class Finding:
    """How a pass stands to one rule."""

    rule: str
    checked: str
    """What was looked at."""
    figure: float
    """The worst of it."""
    limit: float
    """The worst that is allowed."""
    passed: bool
    violation: str
    """Where the rule is broken; empty where it is not."""


@dataclass(frozen=True)
class _Fault:
    size: float
    stage: int
    words: str


def strict_causality(seen: Witness, veiled: Tensor, altered: Iterable[tuple[int, Witness]]) -> Finding:
    """Compare with losses where later tokens are hidden, and with passes over streams whose ends differ."""
    cuts, limit = [], _change(seen)
    words = (
        "the loss after {stage} at position {position} changes by {size:.3g} in blocks of one position, "
        "where no part knows later tokens"
    )
    faults = [*_worst(distance(veiled, seen.nats), seen.stages, words)]
    for place, (cut, other) in enumerate(altered):
        cuts.append(cut)
        when = f"when only tokens after position {cut} change"
        row = distance(other.rows[0], seen.rows[place]).amax(1)
        words = f"the distribution after {{stage}} at position {cut} changes by {{size:.3g}} {when}"
        faults += _worst(row[None], seen.stages, words)
        losses = distance(other.nats[:cut], seen.nats[:cut])
        words = f"the loss after {{stage}} at position {{position}} changes by {{size:.3g}} {when}"
        faults += _worst(losses, seen.stages, words)
    places = ", ".join(map(str, cuts))
    checked = (
        f"{len(veiled)} losses in blocks of one position, the tokens after it hidden from the parts; "
        f"distributions at positions {places}, losses before them, with other tokens after them"
    )
    return _finding("C1 strict causality", checked, limit, faults)


def causal_model(model: LanguageModel) -> Finding:
    """The model as the parts have left it, by the rule of `tmt verify` on every later token."""
    length, dtype = min(LONGEST, model.config.longest), next(model.parameters()).dtype
    (found,) = check(subject_of(model), only=["future"], length=length, dtypes=[dtype])
    return Finding(
        "C1 of the model",
        found.compared,
        float("inf") if found.figure is None else found.figure,
        found.limit or 0.0,
        found.verdict == "holds",
        "" if found.verdict == "holds" else found.where,
    )


def normalised(seen: Witness) -> Finding:
    """Whole distributions, made once and for all, which the losses are read from."""
    grids = {
        "the distribution after {stage} is {size:g} entries off the vocabulary": seen.width - seen.vocab_size,
        "the logarithm of the sum of probabilities after {stage} is {size:.3g} off 0": seen.mass,
        "the distribution after {stage} changes by {size:.3g} once it is made": seen.touched,
        "the loss after {stage} is {size:.3g} off its distribution's": seen.nats - seen.due,
    }
    faults = []
    for words, grid in grids.items():
        off = distance(grid, torch.zeros_like(grid))
        faults += _worst(off, seen.stages, words + " at position {position}")
    checked = f"{seen.vocab_size} probabilities at each of {len(seen.mass)} positions"
    return _finding("C2 normalised", checked, ROUNDING, faults)


def score_before_update(seen: Witness, veiled: Tensor, veil: Veil) -> Finding:
    """Learning when all that was blended is booked, from what is booked.

    To have read ahead is a fault where the losses are others without.
    """
    ahead = veil.ahead if float(distance(veiled, seen.nats).max()) > _change(seen) else []
    early = [*seen.training.early, *ahead]
    checked = f"every weight between two blocks, {seen.training.steps} optimiser steps, what learning reads"
    faults = [_Fault(len(early), 0, words) for words in early[:1]]
    return _finding("C3 score before update", checked, 0, faults)


def single_pass(seen: Witness) -> Finding:
    """Every position in its turn, once."""
    faults, targets = [], len(seen.mass)
    for stage, (what, positions) in enumerate(seen.order.items()):
        counts = np.bincount(positions, minlength=targets)
        wrong, backwards = np.flatnonzero(counts != 1), np.flatnonzero(np.diff(positions) < 1)
        if len(wrong):
            words = f"position {wrong[0]} is {what} {counts[wrong[0]]} times"
            faults.append(_Fault(len(wrong), stage, words))
        elif len(backwards):
            words = f"position {positions[backwards[0] + 1]} is {what} after {positions[backwards[0]]}"
            faults.append(_Fault(len(backwards), stage, words))
    checked = f"how often and in which order {targets} positions are {', '.join(seen.order)}"
    return _finding("C4 single pass", checked, 0, faults)


def acted(seen: Witness) -> Finding:
    """Where a part did nothing, there was nothing to audit."""
    idle = [name for name, times in seen.acted.items() if not times]
    checked = "; ".join(f"{name} acted {times} times" for name, times in seen.acted.items())
    words = (
        f"{', '.join(idle)} changed nothing in {len(seen.mass)} positions: nothing to audit; "
        "leave it out, or take a text or settings with which it acts"
    )
    faults = [_Fault(len(idle), 0, words)] if idle else []
    return _finding("every part acted", checked or "no part", 0, faults)


def agreement(seen: Tensor, exact: Tensor) -> Finding:
    """Losses (N, S) of the code that scores beside those of the same code in float64."""
    off = distance(seen, exact).amax(1)
    size = float(off.quantile(0.9))
    words = f"nine of ten losses are up to {size:.3g} off those in float64, one {float(off.max()):.3g}"
    checked = f"{len(off)} losses of the first chunk, after the model and each part"
    return _finding("float64 agrees", checked, APART, [_Fault(size, 0, words)])


def _change(seen: Witness) -> float:
    return CHANGE if seen.dtype == torch.float64 else ROUGH_CHANGE


def _worst(off: Tensor, stages: Sequence[str], words: str) -> Iterator[_Fault]:
    """Each stage's largest of deviations (N, S)."""
    sizes, positions = off.max(0)
    for stage, (size, position) in enumerate(zip(sizes.tolist(), positions.tolist(), strict=True)):
        yield _Fault(size, stage, words.format(stage=stages[stage], position=position, size=size))


def _finding(rule: str, checked: str, limit: float, faults: Sequence[_Fault]) -> Finding:
    """Of what is beyond the limit the worst of the earliest stage is told: later ones inherit it."""
    beyond = [fault for fault in faults if fault.size > limit]
    told = min(beyond, key=lambda fault: (fault.stage, -fault.size), default=None)
    figure = max((fault.size for fault in faults), default=0)
    return Finding(rule, checked, float(figure), limit, told is None, told.words if told else "")
