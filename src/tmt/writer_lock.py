"""One writer of a folder at a time.

The lock is the operating system's, on the file `.lock`: it goes with the process that holds it, however that
ends. The file stays and means nothing by itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tmt.errors import InputError

LOCK = ".lock"


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Make the folder and hold it while the block runs; of processes that torchrun started, the first does.

    A folder that is still empty afterwards is removed again.

    Raises:
        InputError: another process writes the folder, or it cannot be made.
    """
    if not _first():
        yield
        return
    from filelock import FileLock, Timeout

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(_busy(folder)) from None
    except OSError as error:
        raise InputError(f"cannot write the folder {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [LOCK] and made:
            (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):
            for path in made:
                path.rmdir()


def require_no_writer(folder: Path) -> None:
    """InputError where another process holds the folder; nothing is made."""
    if not _first() or not (folder / LOCK).is_file():
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            pass
    except Timeout:
        raise InputError(_busy(folder)) from None
    except OSError as error:
        raise InputError(f"cannot write the folder {folder}: {error.strerror or error}") from error


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _busy(folder: Path) -> str:
    return f"another process is writing {folder} right now; wait for it, or name another folder with --out"
