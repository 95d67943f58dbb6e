from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.tokens import Shard, TokenStream
from tmt.tokens.device_batches import DeviceBatches
from tmt.tokens.loader import TokenLoader


def stream_of(length: int) -> TokenStream:
    """Tokens that tell their own position."""
    return TokenStream([Shard(np.arange(length, dtype=np.uint32), np.zeros(1, dtype=np.int64))])


def loader(length: int = 1000, **changes: int) -> TokenLoader:
    settings = {"batch_size": 4, "seq_len": 10, "seed": 1} | changes
    return TokenLoader(stream_of(length), **settings)


def first_epoch_starts(loader: TokenLoader) -> list[int]:
    starts = []
    while loader.epoch == 0:
        inputs, _ = next(loader)
        if loader.epoch == 0:
            starts.append(int(inputs[0, 0]))
    return starts


def test_shapes_and_shift() -> None:
    inputs, targets = next(loader())
    assert inputs.shape == targets.shape == (4, 10)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(
    seq_len=st.integers(1, 12), world=st.integers(1, 4), extra=st.integers(0, 200), seed=st.integers(0, 2**40)
)
def test_an_epoch_is_a_permutation_over_the_ranks(seq_len: int, world: int, extra: int, seed: int) -> None:
    length = world * seq_len + 1 + extra
    shares = [
        first_epoch_starts(
            loader(length, batch_size=1, seq_len=seq_len, seed=seed, rank=rank, world_size=world)
        )
        for rank in range(world)
    ]
    starts = sorted(start for share in shares for start in share)
    assert len({len(share) for share in shares}) == 1
    assert len(set(starts)) == len(starts)
    offsets = {start % seq_len for start in starts}
    assert len(offsets) == 1
    available = (length - 1 - offsets.pop()) // seq_len
    assert available - world < len(starts) <= available
    if world == 1:
        assert np.diff(starts).tolist() == [seq_len] * (len(starts) - 1)


def test_epochs_differ_and_seeds_differ() -> None:
    def order(seed: int, epochs: int) -> list[list[int]]:
        source = loader(batch_size=1, seed=seed)
        found: list[list[int]] = [[] for _ in range(epochs + 1)]
        while source.epoch < epochs:
            start = int(next(source)[0][0, 0])
            found[source.epoch].append(start)
        return found[:epochs]

    first, second = order(seed=1, epochs=2)
    assert first != second
    assert first[0] % 10 != second[0] % 10
    assert sorted(first) != first
    assert order(seed=1, epochs=1)[0] == first
    assert order(seed=2, epochs=1)[0] != first


def test_incomplete_batch_is_filled_from_the_next_epoch() -> None:
    big, small = loader(105, batch_size=7), loader(105, batch_size=1)
    rows = torch.cat([inputs for inputs, _ in islice(big, 6)])
    assert torch.equal(rows, torch.cat([inputs for inputs, _ in islice(small, 42)]))
    assert big.epoch == small.epoch == 4


@settings(derandomize=True, max_examples=40, deadline=None)
@given(before=st.integers(0, 40), batch_size=st.integers(1, 5), rank=st.integers(0, 2))
def test_resume_is_exact(before: int, batch_size: int, rank: int) -> None:
    shape = {"batch_size": batch_size, "rank": rank, "world_size": 3}
    source = loader(200, **shape)
    for _ in range(before):
        next(source)
    state = source.state_dict()
    resumed = loader(200, **shape)
    resumed.load_state_dict(state)
    for _ in range(15):
        for own, other in zip(next(source), next(resumed), strict=True):
            assert torch.equal(own, other)
    assert source.state_dict() == resumed.state_dict()


@settings(derandomize=True, max_examples=20, deadline=None)
@given(before=st.integers(0, 12), after=st.integers(0, 5))
def test_batches_ahead_are_the_same_batches(before: int, after: int) -> None:
    def batches(source: TokenLoader) -> DeviceBatches:
        return DeviceBatches(source, torch.device("cpu"), ahead=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
        plain, ahead, resumed = loader(200), batches(loader(200)), batches(loader(200))
        for _ in range(before):
            for own, other in zip(next(ahead), next(plain), strict=True):
                assert torch.equal(own, other)
        assert ahead.state_dict() == plain.state_dict()
        for _ in range(after):
            next(resumed)
        resumed.load_state_dict(ahead.state_dict())
        for own, other in zip(next(resumed), next(plain), strict=True):
            assert torch.equal(own, other)


def test_a_batch_ahead_is_drawn_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor)
    source = DeviceBatches(loader(), torch.device("cpu"), ahead=True)
    assert pinned == []
    for count in (4, 6, 8):
        next(source)
        assert len(pinned) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "seed was 1, now 2"),
        ({"seq_len": 11}, "seq_len was 10, now 11"),
        ({"world_size": 2}, "world_size was 1, now 2"),
        ({"length": 999}, "tokens was 1000, now 999"),
    ],
)
def test_state_of_another_run_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=f"cannot resume the data: {message}"):
        loader(**changes).load_state_dict(loader().state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seq_len": 0}, "seq_len must be at least 1"),
        ({"world_size": 0}, "world_size must be at least 1"),
        ({"rank": 2, "world_size": 2}, r"rank must be in \[0, 2\).*got 2"),
        ({"rank": -1}, "rank must be in"),
        ({"seed": -1}, "seed must not be negative"),
        ({"length": 10}, "the corpus has 10 tokens, but seq_len 10 needs at least 11"),
        ({"length": 20, "world_size": 2}, "seq_len 10 on 2 ranks needs at least 21"),
    ],
)
def test_arguments_are_checked(changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loader(**changes)


def test_shortest_corpus() -> None:
    inputs, targets = next(loader(11, batch_size=2))
    assert inputs.tolist() == [list(range(10))] * 2
    assert targets[0].tolist() == list(range(1, 11))


def test_public_shards_feed_the_loader(tmp_path: Path) -> None:
    header = np.zeros(256, dtype="<i4")
    header[:3] = (20240520, 1, 50)
    paths = [tmp_path / f"fineweb_train_{i:06d}.bin" for i in range(2)]
    for i, path in enumerate(paths):
        path.write_bytes(header.tobytes() + np.arange(50 * i, 50 * i + 50, dtype="<u2").tobytes())
    source = TokenLoader(TokenStream.open(*paths), batch_size=9, seq_len=10, seed=0)
    inputs, targets = next(source)
    assert torch.equal(targets, inputs + 1)
