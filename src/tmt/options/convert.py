"""The options of `tmt convert`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.errors import InputError
from tmt.options import RunOptions, refuse_unused
from tmt.run_folder import check_run, require_new_run
from tmt.writer_lock import require_no_writer


@dataclass(frozen=True)
class ConvertOptions(RunOptions):
    """Turn the kernels of a Toeplitz run into small states: constant cost and memory per decoded token."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    to: Literal["state"] = "state"
    """What to convert to."""
    rank: str = "16"
    """Damped oscillations per kernel; several with commas between only report."""
    head: int = 4
    """First taps of every kernel that are kept as they are."""
    out: Path | None = None
    """Run folder to write; without it the conversion is only measured."""
    tolerance: float = 0.05
    """Largest error of a kernel, as a share of its 1-norm, that is written."""
    tokens: int = 16384
    """Tokens of the validation split on which both models are compared."""
    json: bool = False
    """JSON lines instead of tables, one a rank."""

    def __post_init__(self):
        """Refuse bad ranks, and several of them for one run folder."""
        if len(self.ranks) > 1 and self.out is not None:
            raise InputError(f"--out takes one rank, not {self.rank}; leave it out to compare ranks")

    @property
    def ranks(self) -> list[int]:
        """`rank` as numbers."""
        parts = [part.strip() for part in self.rank.split(",")]
        if not all(part.isdecimal() for part in parts):
            raise InputError(f"rank={self.rank!r} is not a whole number, or several with commas between")
        return [int(part) for part in parts]

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        self.agree(self.run)
        check_run(self.run)
        if self.out is None:
            refuse_unused(given, ("tolerance",), "without --out nothing is written")
        else:
            require_no_writer(self.out)
            require_new_run(self.out)
