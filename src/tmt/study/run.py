"""The runs of a study as processes of their own, in slots side by side, until all are done."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from tmt.options.study import STUDY
from tmt.options.study_file import Job, Study
from tmt.study.job import Places
from tmt.training.interrupt import Interrupt

PATIENCE = 0.2
"""Seconds between two looks at whether the user wants to stop."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run_study(
    study: Study, places: Places, slots: int, say: Callable[[str], None], after_run: Callable[[], object]
) -> list[str]:
    """Do what is missing; returns what failed, a line each.

    Args:
        study: what there is to do; its file lies in the folder of the records.
        places: where everything lies.
        slots: runs side by side.
        say: told what begins and fails.
        after_run: called after every run.

    Raises:
        KeyboardInterrupt: the user stopped it; what was begun is saved.
    """
    slotted = _Slots(study, places, say, after_run)
    threads = [threading.Thread(target=slotted.work, args=(core,)) for core in cores(slots)]
    with Interrupt() as interrupt:
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(PATIENCE)
                    if interrupt.requested:
                        slotted.stop(signal.SIGINT)
        except KeyboardInterrupt:
            slotted.stop(signal.SIGKILL)
            raise
    if slotted.error:
        raise slotted.error
    if slotted.stopped:
        raise KeyboardInterrupt
    return slotted.failures


def cores(slots: int) -> list[int | None]:
    """A processor for each slot, of those that this process may use; None where they cannot be named."""
    if not hasattr(os, "sched_setaffinity"):
        return [None] * slots
    return [*sorted(os.sched_getaffinity(0))[:slots]]


class _Slots:
    """The runs that are left, and the processes that do them."""

    def __init__(
        self, study: Study, places: Places, say: Callable[[str], None], after_run: Callable[[], object]
    ):
        self._places, self._say, self._after_run = places, say, after_run
        self._left: SimpleQueue[tuple[str, Job]] = SimpleQueue()
        for number, job in enumerate(study.jobs, 1):
            self._left.put((f"[{number}/{len(study.jobs)}] {job.name}, seed {job.seed}", job))
        self._lock, self._running = threading.Lock(), set[subprocess.Popen]()
        self.failures: list[str] = []
        self.error: Exception | None = None
        self.stopped = False

    def work(self, core: int | None) -> None:
        """Do one run after the other, on one processor."""
        try:
            if core is not None:
                os.sched_setaffinity(0, {core})  # of this thread, and of the processes that it starts
            while not self.stopped:
                self._do(*self._left.get_nowait())
        except Empty:
            return
        except Exception as error:  # raised again by the thread that waits
            self.error = error
            self.stop(signal.SIGINT)

    def stop(self, how: signal.Signals) -> None:
        """Start nothing more; the first time, or to kill, tell what runs."""
        with self._lock:
            if self.stopped and how is not signal.SIGKILL:
                return
            self.stopped = True
            for process in self._running:
                process.send_signal(how)

    def _do(self, title: str, job: Job) -> None:
        if self._places.record(job).done(job) and not self._places.leftovers(job):
            return
        self._say(title)
        folder = self._places.records / job.slug
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("a", encoding="utf-8") as log, suppress(_Stopped):
            code = self._wait(self._start(job, log.fileno()))
            if code and not self.stopped:
                self._fail(
                    job, title, f"killed by {signal.Signals(-code).name}" if code < 0 else _last_line(folder)
                )
        with self._lock:
            self._after_run()

    def _start(self, job: Job, log: int) -> subprocess.Popen:
        places = self._places
        arguments = ["study", str(places.records / STUDY), f"--out={places.records}", f"--work={places.work}"]
        arguments += [f"--only={job.slug}", *(["--keep"] if places.keep else [])]
        with self._lock:
            if self.stopped:
                raise _Stopped
            process = subprocess.Popen(
                [sys.executable, "-m", "tmt", *arguments],
                stdout=log,
                stderr=log,
                env=os.environ | ONE_THREAD,
                start_new_session=True,  # Ctrl-C reaches it through `stop` alone, once
            )
            self._running.add(process)
            return process

    def _wait(self, process: subprocess.Popen) -> int:
        code = process.wait()
        with self._lock:
            self._running.discard(process)
        return code

    def _fail(self, job: Job, title: str, reason: str) -> None:
        record = self._places.record(job)
        record.failed = reason
        record.save(self._places.records / job.slug)
        self.failures.append(f"{job.name}, seed {job.seed}: {reason}")
        self._say(f"{title} failed: {reason}")


class _Stopped(Exception):
    """Nothing is started any more."""


def _last_line(folder: Path) -> str:
    lines = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("tmt: error: ") if lines else "no message"
