"""The ring of inputs: what is asked for is what was written, however it came."""

import pytest
import torch

from tmt.layers.cache import Cache
from tmt.layers.ring import Ring

PLAN = [(1, 4, 2), (3, 1, 5), (1, 1, 1), (9, 2, 11), (1, 1, 1), (1, 1, 1), (4, 12, 3)]


@pytest.mark.parametrize("span", [None, 1, 2, 5, 8, 40])
def test_latest_past_and_lags_are_those_of_a_list(span: int | None):
    torch.manual_seed(0)
    history: list[list[torch.Tensor]] = [[] for _ in range(3)]
    state = None
    for counts in PLAN:
        x = torch.randn(3, max(counts), 2, 3)
        cache = Cache(torch.zeros(3, max(counts), dtype=torch.long), state, torch.tensor(counts), keep=True)
        ring = Ring(x, cache, span)
        past = ring.past()
        for row, done in enumerate(history):
            wanted = done[len(done) - past.shape[1] :] if len(done) >= past.shape[1] else done
            for back, value in enumerate(reversed(wanted), 1):
                assert torch.equal(past[row, -back], value)
            assert not past[row, : past.shape[1] - len(wanted)].any()
        longest = max(map(len, history))
        assert past.shape[1] == (longest if span is None else min(longest, span - 1))
        ring.write(x)
        for row, count in enumerate(counts):
            history[row] += list(x[row, :count])
        lags = ring.lags()
        for row, done in enumerate(history):
            kept = done[::-1] if span is None else done[::-1][:span]
            known = {int(lag): slot for slot, lag in enumerate(lags[row]) if 0 <= lag < len(kept)}
            assert set(known) == set(range(len(kept)))
            for lag, value in enumerate(kept):
                assert torch.equal(ring.buffer[row, :, known[lag]], value)
        shortest = min(map(len, history)) if span is None else min(span, *map(len, history))
        latest = ring.latest(shortest)
        for row, done in enumerate(history):
            assert torch.equal(latest[row], torch.stack(done[-shortest:]))
        if span is not None:
            assert ring.buffer.shape[2] <= span
        state = cache.state()
