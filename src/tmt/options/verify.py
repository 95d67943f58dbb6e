"""The options of `tmt verify`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.errors import InputError
from tmt.options import RunOptions
from tmt.own_code import source_of
from tmt.run_folder import check_run

NumberFormat = Literal["float32", "float64", "bfloat16"]


@dataclass(frozen=True)
class VerifyOptions(RunOptions):
    """Hold any causal language model to its promises, such as not looking ahead; 1 where one is broken."""

    target: str
    """Run folder, artifact, file.py of an architecture, file.py:Name, package.module:name (a class or
    function that makes a model), or hf:FOLDER, a causal language model of transformers. The code is run."""
    only: str | None = None
    """Rules to check, with commas between; default: all."""
    length: int | None = None
    """Tokens of the texts that the model is tried on; default: 64, and in its own number format as many as
    reach its window, its blocks and whatever else its code takes another path at, at most 1,024."""
    dtype: NumberFormat | None = None
    """Number format; default: the model's own, whose code runs in real use, then float64."""
    seed: int = 0
    """Of the tokens."""
    json: bool = False
    """One JSON object on one line instead of a table."""

    def __post_init__(self):
        """Refuse what leaves nothing to compare."""
        if self.length is not None and self.length < 2:
            raise InputError(f"--length {self.length} leaves nothing to compare; take 2 or more")

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        place, colon, _ = self.target.rpartition(":")
        if self.target.startswith("hf:") or (colon and not Path(self.target).exists()):
            if place.endswith(".py") and not Path(place).is_file():
                raise InputError(f"there is no file {place}")
            return
        if self.target.endswith(".py"):
            source_of(self.target)
            return
        self.agree(self.target)
        check_run(self.target)
