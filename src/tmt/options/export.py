"""The options of `tmt export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.errors import InputError
from tmt.options import RunOptions
from tmt.run_folder import check_run, require_writable


@dataclass(frozen=True)
class ExportOptions(RunOptions):
    """Write a run of the dense baseline as a Qwen3 that transformers, and what reads its models, opens."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    folder: Path
    """Folder to write; not there yet."""
    to: Literal["hf"] = "hf"
    """The form: that of the Hugging Face libraries."""

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        self.agree(self.run)
        check_run(self.run)
        if self.folder.exists():
            raise InputError(f"{self.folder} is there already; name another folder")
        require_writable(self.folder)
