"""The command, under a name that no other package has.

The package `tmt` on PyPI, the Test Management Tool, has our import name and our command, and the files of
whichever is installed last lie over those of the other. So this looks before it imports what is called tmt.
"""

import sys
from importlib.metadata import PackageNotFoundError, version


def main() -> int:
    """Run the command line; one line and exit code 2 where another package has, or took along, its files."""
    try:
        other = version("tmt")
    except PackageNotFoundError:
        return _run()
    return _refuse(
        f"the package tmt {other} (Test Management Tool) is here too, and its files and ours lie over each "
        "other; install temporalmesh-transformer in an environment of its own"
    )


def _run() -> int:
    try:
        from tmt.cli import main as command_line
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "tmt":
            raise
        return _refuse(f"{error}; install it anew: pip install --force-reinstall temporalmesh-transformer")
    return command_line()


def _refuse(reason: str) -> int:
    print(f"temporalmesh: error: {reason}", file=sys.stderr)
    return 2
