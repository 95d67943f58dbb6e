"""What each command can be told, one module a command, and what of it can be refused without PyTorch.

A value that is wrong by itself is refused when the options are made; what must be looked up on the disk, when
they are verified. Nothing here imports PyTorch, so that a mistake is answered at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tmt.errors import InputError
from tmt.run_folder import asks_for_trust, trust


@dataclass(frozen=True)
class Options:
    """The options of a command."""

    def verify(self, given: frozenset[str]) -> None:
        """Refuse what does not fit the files that it names; `given` names the options that were set.

        Raises:
            InputError: something is missing, cannot be used, or contradicts what is there.
        """


@dataclass(frozen=True)
class RunOptions(Options):
    """The options of a command that opens runs."""

    trust: str | None = field(default=None, kw_only=True)
    """Run this file (or installed architecture) as the model of a run whose own code is elsewhere, changed or
    not agreed to yet; it is remembered. Read the file first."""

    def agree(self, *runs: str | Path | None) -> None:
        """Note what `--trust` says about the first of these runs that asks for it; None for one not named."""
        named = [run for run in runs if run is not None]
        if self.trust is not None and named:
            trust(next((run for run in named if asks_for_trust(run)), named[0]), self.trust)


def refuse_unused(given: frozenset[str], names: Iterable[str], reason: str) -> None:
    """InputError for the first of the named options that was given, where `reason` makes it mean nothing."""
    for name in names:
        if name in given:
            raise InputError(f"--{name.replace('_', '-')} has no effect: {reason}; leave it out")
