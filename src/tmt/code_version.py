"""Which code makes a record."""

import subprocess
from functools import cache
from pathlib import Path

from tmt import __version__

SOURCE = Path(__file__).parent


@cache
def code_version() -> str:
    """The commit of this code, with "+" where files differ from it; without a repository, the version."""
    git = ["git", "-C", str(SOURCE)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=True)
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run([*git, "status", "--porcelain", "--", "."], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
