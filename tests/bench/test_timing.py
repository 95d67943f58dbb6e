import time

import pytest
import torch

from tmt.bench.timing import FEWEST, MOST, Times, interleaved

CPU = torch.device("cpu")


@pytest.mark.parametrize(("budget", "repetitions"), [(0.0, FEWEST), (60.0, MOST)])
def test_the_calls_take_turns(budget: float, repetitions: int):
    calls: list[str] = []
    ours, peer = interleaved(lambda: calls.append("ours"), lambda: calls.append("peer"), budget, CPU)
    assert calls == ["ours", "peer"] * repetitions
    assert len(ours.seconds) == len(peer.seconds) == repetitions


def test_each_call_gets_its_own_time():
    ours, peer = interleaved(lambda: time.sleep(0.02), lambda: None, 0.0, CPU)
    assert ours.median >= 0.02 > peer.median


def test_median_and_interquartile_range():
    times = Times([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (times.median, times.spread) == (3.0, 2.0)
