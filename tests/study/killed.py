"""A process of its own that does the runs of a study, one of them killed (-9) again and again.

    python killed.py STUDY.yaml FOLDER RUN-SEED

Records go to FOLDER/whole, and to FOLDER/killed where every attempt at the run was killed two moments later
than the one before, until one came to the end. A moment is before or after a step, a save, a score, and a
file written, moved or removed. Every attempt is a fork, so that PyTorch is imported once. Prints
how often it was killed.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from tmt.commands.study import run_command
from tmt.options.study_file import Job, read_study
from tmt.study import job as jobs
from tmt.study.job import Places, work_off
from tmt.training.loop import Trainer

NEVER = -1


class Moments:
    """Kills the process when so many moments have passed."""

    def __init__(self, last: int):
        self.passed, self.last = 0, last

    def __call__(self) -> None:
        if self.passed == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, place: Any, name: str) -> None:
        """A moment before and after every call of a function."""
        function: Callable = getattr(place, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self()
            result = function(*arguments, **options)
            self()
            return result

        setattr(place, name, watched)


def attempt(job: Job, places: Places, last: int = NEVER) -> int | None:
    """How many moments an attempt had; None when it was killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        moments = Moments(last)
        for place, name in ((Trainer, "take_step"), (Trainer, "save"), (jobs, "_evaluate")):
            moments.around(place, name)
        for place, name in ((Path, "replace"), (Path, "write_text"), (shutil, "rmtree")):
            moments.around(place, name)
        work_off(job, places, run_command)
        os.write(writing, f"{moments.passed}".encode())
        os._exit(0)
    os.close(writing)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(reading) as pipe:
        passed = pipe.read()
    assert passed or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
    return int(passed) if passed else None


if __name__ == "__main__":
    torch.set_num_threads(1)
    for command in ("train", "evaluate"):
        import_module(f"tmt.commands.{command}")  # once for all forks
    file, folder, only = sys.argv[1:]
    study = read_study(Path(file))
    whole, killed = (
        Places(Path(folder, name), Path(folder, f"{name}.work"), False) for name in ("whole", "killed")
    )
    kills = 0
    for job in study.jobs:
        attempt(job, whole)
        while attempt(job, killed, 2 * kills if job.slug == only else NEVER) is None:
            kills += 1
            assert kills < 50
    print(kills)
