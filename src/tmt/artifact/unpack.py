"""From an artifact back to a run folder."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tmt.errors import InputError
from tmt.packed import Artifact, unpack


def unpack_run(path: Path, folder: Path) -> Artifact:
    """Write a run folder with the weights of an artifact, whole or not at all; returns the artifact.

    Raises:
        InputError: the folder holds something already or cannot be written; or as by
            :func:`tmt.packed.decode`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; name another folder with --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as temporary:
            content = Path(temporary) / "content"
            content.mkdir()
            artifact = unpack(path, content)
            content.replace(folder)
        return artifact
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
