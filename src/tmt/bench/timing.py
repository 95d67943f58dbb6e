"""Wall-clock times of two calls, taken in turns so that a slow moment of the machine hits both."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

FEWEST = 3
"""Repetitions of each call, however long they take."""
MOST = 100
"""Repetitions of each call, however little time they take."""


@dataclass(frozen=True)
class Times:
    """Seconds of the repetitions of one call."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        """Median, s."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range, s."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return high - low


def interleaved(
    ours: Callable[[], object], peer: Callable[[], object], budget: float, device: torch.device
) -> tuple[Times, Times]:
    """Time ours, peer, ours, peer, … for about `budget` seconds; both calls have been warmed up before."""
    rows: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(rows) < FEWEST or (len(rows) < MOST and time.perf_counter() - start < budget):
        rows.append((_seconds(ours, device), _seconds(peer, device)))
    own, other = zip(*rows, strict=True)
    return Times(own), Times(other)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
