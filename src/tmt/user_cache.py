"""Where built things are kept, and how they are built: whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tmt.errors import InputError


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """`cache_dir`, else `$TMT_CACHE`, else `$XDG_CACHE_HOME/tmt`, else `~/.cache/tmt`."""
    if cache_dir is not None:
        return Path(cache_dir)
    if own := os.environ.get("TMT_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "tmt"


@contextmanager
def built_whole(target: Path) -> Iterator[Path]:
    """Give a fresh folder to fill; it becomes `target` when the block ends, and vanishes when it raises.

    A `target` that appeared meanwhile, built by another process from the same content, is kept.

    Raises:
        InputError: the operating system refuses (disk full, no permission).
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as temporary:
            folder = Path(temporary) / "content"
            folder.mkdir()
            yield folder
            if not target.exists():
                _move(folder, target)
    except OSError as error:
        raise _refused(target, error) from error


def discard(target: Path) -> None:
    """Remove a folder at one stroke, so that no other process sees half of it.

    Raises:
        InputError: the operating system refuses.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".discarded-", dir=target.parent) as temporary:
            target.rename(Path(temporary) / "content")
    except FileNotFoundError:
        return  # another process was faster
    except OSError as error:
        raise _refused(target, error) from error


def _move(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        if not target.exists():
            raise


def _refused(target: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write the cache {target.parent}: {error.strerror or error}; "
        "free space there or set TMT_CACHE to another folder"
    )
