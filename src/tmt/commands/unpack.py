"""`tmt unpack`: an artifact as a run folder."""

from tmt.artifact import unpack_run
from tmt.options.unpack import UnpackOptions


def unpack(options: UnpackOptions) -> None:
    """Run the command."""
    folder = options.artifact.with_suffix("") if options.out is None else options.out
    artifact = unpack_run(options.artifact, folder)
    print(f"run folder: {folder}, {len(artifact.tensors)} tensors, {' and '.join(sorted(artifact.files))}")
