"""The options of `tmt unpack`."""

from dataclasses import dataclass
from pathlib import Path

from tmt.errors import InputError
from tmt.options import Options


@dataclass(frozen=True)
class UnpackOptions(Options):
    """Write the run folder that an artifact stands for: to read its configuration, or for other tools."""

    artifact: Path
    """File of tmt pack."""
    out: Path | None = None
    """Run folder to write; default: the artifact's name without its ending."""

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if not self.artifact.is_file():
            raise InputError(f"cannot read {self.artifact}: there is no such file; make one with `tmt pack`")
