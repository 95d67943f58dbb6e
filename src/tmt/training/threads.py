"""As many threads as there are cores free for them: one too many holds all others up at every barrier."""

import time
from collections.abc import Callable

import torch

from tmt import machine

PERIOD = 2.0
"""Seconds over which the load is measured."""
SLACK = 0.3
"""Share of a core that others may use while it still counts as free."""


class Threads:
    """Follows the load of the machine while a run trains.

    A run measured in minutes gives way, and comes back, since its result depends on the clock anyway. One
    measured in steps keeps its threads, since sums depend on their number in the last bit; it says once what
    would be faster.
    """

    def __init__(self, fixed: bool, device: torch.device, say: Callable[[str], None]):
        self.fixed, self.say = fixed, say
        self._watch = device.type == "cpu" and not machine.THREADS_ARE_GIVEN
        self._load, self._asked = machine.Load(), time.monotonic()

    def follow(self) -> None:
        """Look at the load every few seconds, between two steps."""
        if not self._watch or time.monotonic() - self._asked < PERIOD:
            return
        self._asked, free = time.monotonic(), self._load.free_cores()
        if free is None:
            return
        cores, now = machine.usable_cores(), torch.get_num_threads()
        wanted = min(cores, max(1, int(free + SLACK)))
        busy = f"{cores - wanted} of {cores} cores are busy with other work"
        if not self.fixed and wanted != now:
            torch.set_num_threads(wanted)
            self.say(f"{busy}: training in {wanted} of {cores} threads")
        elif self.fixed and wanted < now:
            self._watch = False
            self.say(f"{busy}: OMP_NUM_THREADS={wanted} would be faster, with other rounding")
