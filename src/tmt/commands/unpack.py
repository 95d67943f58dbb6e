"""`tmt unpack`: an artifact as a run folder."""

from dataclasses import dataclass
from pathlib import Path

from tmt.artifact import unpack_run


@dataclass(frozen=True)
class UnpackOptions:
    """Write the run folder that an artifact stands for: to read its configuration, or for other tools."""

    artifact: Path
    """File of tmt pack."""
    out: Path | None = None
    """Run folder to write; default: the artifact's name without its ending."""


def unpack(options: UnpackOptions) -> None:
    """Run the command."""
    folder = options.artifact.with_suffix("") if options.out is None else options.out
    artifact = unpack_run(options.artifact, folder)
    print(f"run folder: {folder}, {len(artifact.tensors)} tensors, {' and '.join(sorted(artifact.files))}")
