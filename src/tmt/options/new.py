"""The options of `tmt new`."""

from dataclasses import dataclass
from pathlib import Path

from tmt.errors import InputError
from tmt.options import Options
from tmt.run_folder import require_writable


@dataclass(frozen=True)
class NewOptions(Options):
    """Write an architecture to begin with: one file that trains as it stands."""

    file: Path
    """Python file to write, such as mine.py."""

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.file.suffix != ".py":
            raise InputError(f"{self.file} is no name of a Python file; say {self.file}.py")
        if self.file.exists():
            raise InputError(f"{self.file} is there already; name another file")
        require_writable(self.file)
