"""The cache against a plain record of what every row has read, whatever the pieces."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tmt.layers.cache import Cache

STEPS = st.lists(st.lists(st.integers(1, 4), min_size=3, max_size=3), min_size=1, max_size=5)


def values(start: int, count: int, row: int) -> Tensor:
    """What position p of a row holds: (p + 1, row)."""
    position = torch.arange(start, start + count, dtype=torch.float64) + 1
    return torch.stack([position, torch.full_like(position, row)], -1)


def grid_of(past: list[int], step: list[int]) -> Tensor:
    """(B·T, 2) new values, padded on the right with noise."""
    width = max(step)
    padded = [
        torch.cat([values(past[b], n, b), torch.full((width - n, 2), -9.0)]) for b, n in enumerate(step)
    ]
    return torch.cat(padded).double()


@given(steps=STEPS, recorded=st.booleans())
def test_appended_values_are_found_at_their_positions(steps: list[list[int]], recorded: bool):
    state, past = None, [0, 0, 0]
    with torch.set_grad_enabled(recorded):
        for step in steps:
            tokens = torch.zeros(3, max(step), dtype=torch.long)
            cache = Cache(tokens, state, torch.tensor(step), keep=True)
            stored = cache.append(grid_of(past, step))
            assert cache.positions[:, 0].tolist() == past
            past = [p + n for p, n in zip(past, step, strict=True)]
            assert stored.shape[1] == cache.reach >= max(past)
            for b, length in enumerate(past):
                assert torch.equal(stored[b, :length], values(0, length, b))
            state = cache.state()
            assert state[0].tolist() == past


@given(steps=STEPS, width=st.integers(0, 5))
def test_the_tail_is_what_came_before(steps: list[list[int]], width: int):
    state, past = None, [0, 0, 0]
    for step in steps:
        tokens = torch.zeros(3, max(step), dtype=torch.long)
        cache = Cache(tokens, state, torch.tensor(step), keep=True)
        tail = cache.tail(grid_of(past, step), width)
        for b, length in enumerate(past):
            before = torch.cat([torch.zeros(width, 2), values(0, length, b)])
            assert torch.equal(tail[b], before[length:])
        past = [p + n for p, n in zip(past, step, strict=True)]
        state = cache.state()


def test_carried_values_are_handed_on():
    tokens = torch.zeros(2, 3, dtype=torch.long)
    cache = Cache(tokens, None, None, keep=True)
    start, put = cache.carried(torch.zeros(2, 4))
    cache.append(torch.ones(6, 1))
    assert torch.equal(start, torch.zeros(2, 4))
    put(torch.full((2, 4), 7.0))
    later = Cache(tokens, cache.state(), None, keep=True)
    again, _ = later.carried(torch.zeros(2, 4))
    assert torch.equal(again, torch.full((2, 4), 7.0))
    assert torch.equal(later.append(torch.ones(6, 1)), torch.ones(2, 6, 1))
    assert len(later.state()) == 3


def test_nothing_is_kept_unless_asked_for():
    cache = Cache(torch.zeros(2, 3, dtype=torch.long), None, None, keep=False)
    grid = torch.randn(6, 5)
    assert torch.equal(cache.append(grid), grid.view(2, 3, 5))
    assert torch.equal(cache.tail(grid, 2), torch.zeros(2, 2, 5))
    assert len(cache.state()) == 1


def test_reading_token_by_token_copies_rarely():
    """Buffers double, so n tokens cost O(n) copies in all and most calls write in place."""
    state, addresses = None, set()
    with torch.no_grad():
        for _ in range(64):
            cache = Cache(torch.zeros(1, 1, dtype=torch.long), state, None, keep=True)
            addresses.add(cache.append(torch.ones(1, 2)).data_ptr())
            state = cache.state()
    assert state[1].shape[1] == 64
    assert len(addresses) <= 7


def test_a_state_of_another_batch_is_refused():
    state = Cache(torch.zeros(2, 3, dtype=torch.long), None, None, keep=True).state()
    with pytest.raises(ValueError, match="the state has 2 rows, the tokens have 3"):
        Cache(torch.zeros(3, 1, dtype=torch.long), state, None, keep=True)


@given(steps=STEPS, block=st.integers(1, 3))
def test_block_means_are_kept_and_completed(steps: list[list[int]], block: int):
    state, past = None, [0, 0, 0]
    for step in steps:
        cache = Cache(torch.zeros(3, max(step), dtype=torch.long), state, torch.tensor(step), keep=True)
        stored = cache.append(grid_of(past, step))
        means = cache.block_means(stored, block)
        past = [p + n for p, n in zip(past, step, strict=True)]
        for b, length in enumerate(past):
            complete = length // block
            expected = values(0, complete * block, b).unflatten(0, (complete, block)).mean(1)
            torch.testing.assert_close(means[b, :complete], expected)
        state = cache.state()


def test_what_is_remembered_is_made_once():
    made: list[int] = []

    def make() -> Tensor:
        made.append(1)
        return torch.arange(3.0)[None]

    state = None
    for _ in range(3):
        cache = Cache(torch.zeros(2, 1, dtype=torch.long), state, None, keep=True)
        assert torch.equal(cache.remembered(make), torch.arange(3.0).expand(2, 3))
        state = cache.state()
    assert len(made) == 1
    assert Cache(torch.zeros(2, 1, dtype=torch.long), None, None, keep=False).remembered(make).shape == (1, 3)
