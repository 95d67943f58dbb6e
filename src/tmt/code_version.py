"""Which code makes a record."""

import subprocess
from functools import cache
from pathlib import Path

from tmt import __version__

SOURCE = Path(__file__).parent


@cache
def code_version() -> str:
    """The commit of this code, with "+" where files differ from it; without a repository, the version."""
    try:
        _git("ls-files", "--error-unmatch", "__init__.py")
        changed = "+" if _git("status", "--porcelain", "--", ".") else ""
        return _git("rev-parse", "--short=12", "HEAD") + changed
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(SOURCE), *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.strip()
