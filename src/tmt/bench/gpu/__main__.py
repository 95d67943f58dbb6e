"""`python -m tmt.bench.gpu`: see :mod:`tmt.bench.gpu`."""

import argparse
import shlex
import sys
from pathlib import Path

from tmt.bench.gpu.visit import Visit, run


def main() -> None:
    """Parse the options and go."""
    parser = argparse.ArgumentParser(prog="python -m tmt.bench.gpu", description="Check and time a GPU.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the command out")
    parser.add_argument("--quick", action="store_true", help="the smallest of everything")
    parser.add_argument("--minutes", type=float, default=8.0, help="when to stop with what there is")
    parser.add_argument("--out", type=Path, help="folder; default results/DATE_GPU")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes} must be above zero")
    command = shlex.join(["python", "-m", "tmt.bench.gpu", *sys.argv[1:]])
    run(Visit(options.device, options.quick), options.minutes, options.out, command)


if __name__ == "__main__":
    main()
