"""Holding a model to the rules."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from tmt.errors import InputError, reason, unknown
from tmt.verify.differences import Difference, number
from tmt.verify.probe import Probe
from tmt.verify.report import Finding, Report
from tmt.verify.rules import RULES, Rule
from tmt.verify.subject import NotOfferedError, Subject

SHORTEST, LONGEST = 64, 1024
"""Tokens of the texts that a model is tried on where nothing else is asked; enough to reach its edges."""
BEYOND = 16
"""Tokens behind the last of them."""
NUDGES = 3
"""How many times a difference is looked at again before it is called a fault."""


def check(
    subject: Subject,
    *,
    only: Sequence[str] = (),
    length: int | None = None,
    dtypes: Sequence[torch.dtype] = (),
    seed: int = 0,
) -> Report:
    """Hold a model to every rule, in its own number format and in float64.

    Args:
        subject: see :func:`tmt.verify.subject_of`. It is left in the mode that it was in, unchanged.
        only: names of rules; all of them where none is given.
        length: tokens of the texts that it is tried on; default: 64, and in its own number format as many as
            reach the distances and positions at which its code takes another path, at most 1,024.
        dtypes: number formats; default: its own, whose code runs in real use, and float64, whose errors of
            rounding hide least.
        seed: of the tokens.

    Raises:
        InputError: there is no such rule, or the length is below 2.
    """
    return Report(subject.name, tuple(findings(subject, only=only, length=length, dtypes=dtypes, seed=seed)))


def findings(
    subject: Subject,
    *,
    only: Sequence[str] = (),
    length: int | None = None,
    dtypes: Sequence[torch.dtype] = (),
    seed: int = 0,
) -> Iterator[Finding]:
    """The findings of :func:`check`, each when it is made."""
    rules = chosen(only)
    if length is not None and length < 2:
        raise InputError(f"length={length} leaves nothing to compare; take 2 or more")
    for dtype in dtypes or dict.fromkeys((subject.dtype, torch.float64)):
        tried = subject.converted(dtype)
        tried.module.eval()
        probe = Probe(tried, length or _default(subject, dtype), seed)
        for rule in rules:
            yield _finding(rule, probe, str(dtype).removeprefix("torch."))


def _default(subject: Subject, dtype: torch.dtype) -> int:
    """Tokens of a text, in one number format."""
    edge = max(subject.edges, default=0) if dtype == subject.dtype else 0
    return max(SHORTEST, min(LONGEST, BEYOND + edge))


def chosen(names: Iterable[str]) -> list[Rule]:
    """The rules of these names, in their order; all where there are none. InputError for an unknown name."""
    names = list(names)
    for name in names:
        if name not in RULES:
            raise unknown("rule", name, RULES)
    return [rule for rule in RULES.values() if not names or rule.name in names]


def _finding(rule: Rule, probe: Probe, dtype: str) -> Finding:
    about = dict(rule=rule.name, promise=rule.promise, dtype=dtype)
    try:
        with torch.no_grad():
            limit = rule.limit(probe)
            differences = _lasting(rule, probe, limit)
            noise = probe.noise if limit else None
    except NotOfferedError as error:
        return Finding(**about, verdict="not claimed", where=str(error))
    except Exception as error:
        return Finding(**about, verdict="broken", where=f"raises {type(error).__name__}: {reason(error)}")
    worst = max(differences, key=lambda difference: difference.size, default=number(0.0))
    holds = worst.size <= limit
    return Finding(
        **about,
        verdict="holds" if holds else "broken",
        compared=f"{rule.compared} ({len(differences)} comparisons)",
        figure=worst.size,
        noise=noise,
        limit=limit,
        where="" if holds else worst.where,
    )


def _lasting(rule: Rule, probe: Probe, limit: float) -> list[Difference]:
    """What differs, and still does in the same place when all weights move by a few units in the last place.

    A fault lasts. A choice that rounding tips (the k nearest, a threshold) does not: its tie is gone.
    """
    differences = list(rule.check(probe))
    for salt in range(1, 1 + NUDGES):
        if all(difference.size <= limit for difference in differences):
            break
        again = rule.check(Probe(probe.nudged(salt=salt), probe.length, probe.seed))
        differences = [a.least(b) for a, b in zip(differences, again, strict=True)]
    return differences
