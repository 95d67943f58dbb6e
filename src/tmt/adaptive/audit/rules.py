"""The four rules, and how a pass that was watched stands to each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tmt.adaptive.audit.witness import Witness
from tmt.evaluate.causality import distance

CHANGE = 1e-6
"""What a loss or the logarithm of a probability may move by when later tokens change."""
ROUNDING = 1e-5
"""How far from 0 the logarithm of a sum of probabilities may be."""


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


def strict_causality(seen: Witness, alone: Tensor, altered: Iterable[tuple[int, Witness]]) -> Finding:
    """Compare with losses in blocks of one position, and with passes over streams whose ends are others."""
    cuts = []
    words = "the loss after {stage} at position {position} changes by {size:.3g} in a block of its own"
    faults = [*_worst(distance(alone, seen.nats), seen.stages, words)]
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
    checked = f"every loss in a block of its own, distributions at positions {places}, losses before them"
    return _finding("C1 strict causality", checked, CHANGE, faults)


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


def score_before_update(seen: Witness) -> Finding:
    """Learning when all that was blended is booked, from what is booked."""
    training = seen.training
    checked = (
        f"the weights, {training.steps} steps of optimisers and {training.readings} forward passes with "
        f"gradients, on {len(seen.mass) + 1} tokens of which {training.distinct} come for the first time"
    )
    faults = [_Fault(len(training.early), 0, words) for words in training.early[:1]]
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
