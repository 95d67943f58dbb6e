import pytest
import torch

from tmt.bench import timing
from tmt.bench.timing import FEWEST, MOST, Times, interleaved

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One entry, the time of a clock that stands still."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize(("budget", "repetitions"), [(0.0, FEWEST), (60.0, MOST)])
def test_the_calls_take_turns(budget: float, repetitions: int, clock: list[float]):
    calls: list[str] = []
    ours, peer = interleaved(lambda: calls.append("ours"), lambda: calls.append("peer"), budget, CPU)
    assert calls == ["ours", "peer"] * repetitions
    assert len(ours.seconds) == len(peer.seconds) == repetitions


def test_each_call_gets_its_own_time(clock: list[float]):
    def takes(seconds: float) -> None:
        clock[0] += seconds

    ours, peer = interleaved(lambda: takes(2.0), lambda: takes(0.5), 11.0, CPU)
    assert (ours.seconds, peer.seconds) == ((2.0,) * 5, (0.5,) * 5)


def test_median_and_interquartile_range():
    times = Times([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (times.median, times.spread) == (3.0, 2.0)
