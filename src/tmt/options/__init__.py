"""What each command can be told, one module a command, and what of it can be refused without PyTorch.

A value that is wrong by itself is refused when the options are made; what must be looked up on the disk, when
they are verified. Nothing here imports PyTorch, so that a mistake is answered at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tmt.errors import InputError


@dataclass(frozen=True)
class Options:
    """The options of a command."""

    def verify(self, given: frozenset[str]) -> None:
        """Refuse what does not fit the files that it names; `given` names the options that were set.

        Raises:
            InputError: something is missing, cannot be used, or contradicts what is there.
        """


def refuse_unused(given: frozenset[str], names: Iterable[str], reason: str) -> None:
    """InputError for the first of the named options that was given, where `reason` makes it mean nothing."""
    for name in names:
        if name in given:
            raise InputError(f"--{name.replace('_', '-')} has no effect: {reason}; leave it out")
