"""What a rule is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tmt.verify.differences import Difference
from tmt.verify.probe import Probe


@dataclass(frozen=True)
class Rule:
    """A promise, and how a model is held to it."""

    name: str
    promise: str
    compared: str
    """What is looked at."""
    check: Callable[[Probe], Iterator[Difference]]
    """Raises NotOfferedError where the model does not offer it or does not claim it."""
    limit: Callable[[Probe], float] = lambda probe: probe.limit
    """How large a difference may be."""


def exact(probe: Probe) -> float:
    """The limit of a rule that allows no rounding."""
    return 0.0
