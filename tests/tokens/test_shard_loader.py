from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.tokens import PublicStream, Shard, TokenStream
from tmt.tokens.loader import TokenLoader
from tmt.tokens.shard_loader import ShardLoader, training_loader

SIZES = [105, 64, 7, 230]


def public_stream(sizes: list[int]) -> PublicStream:
    """Tokens that tell their own position."""
    parts = np.split(np.arange(sum(sizes), dtype=np.uint32), np.cumsum(sizes)[:-1])
    return PublicStream([Shard(part, np.empty(0, dtype=np.int64)) for part in parts], separator=0)


def loader(sizes: list[int] = SIZES, **changes: int) -> ShardLoader:
    return ShardLoader(public_stream(sizes), **({"batch_size": 1, "seq_len": 10, "seed": 1} | changes))


def epoch_starts(source: ShardLoader) -> list[int]:
    """Where the sequences of the epoch that the loader is about to read start, in their order."""
    starts, epoch = [], source.epoch
    while True:
        inputs, targets = next(source)
        if source.epoch > epoch and starts:
            return starts
        epoch = source.epoch
        assert torch.equal(targets, inputs + 1)
        starts.append(int(inputs[0, 0]))


@given(
    sizes=st.lists(st.integers(0, 80), min_size=1, max_size=6).filter(lambda sizes: max(sizes[:1]) > 12),
    seq_len=st.integers(1, 12),
    seed=st.integers(0, 2**40),
)
def test_an_epoch_cuts_every_file_from_its_own_phase(sizes: list[int], seq_len: int, seed: int) -> None:
    starts = np.sort(epoch_starts(loader(sizes, seq_len=seq_len, seed=seed)))
    firsts = np.cumsum([0, *sizes])
    for first, size in zip(firsts, sizes, strict=False):
        own = starts[(starts >= first) & (starts < first + size)] - first
        if size <= seq_len:
            assert len(own) == 0
            continue
        phase = own[0]
        assert 0 <= phase <= min(seq_len - 1, size - seq_len - 1)
        assert own.tolist() == [phase + n * seq_len for n in range((size - 1 - phase) // seq_len)]
        assert own[-1] + seq_len < size


@pytest.mark.parametrize(("size", "phases"), [(105, 10), (15, 5), (11, 1)])
def test_every_phase_occurs(size: int, phases: int) -> None:
    starts = [min(epoch_starts(loader([size], seed=seed))) for seed in range(100)]
    assert sorted(set(starts)) == list(range(phases))


def test_ranks_take_files_in_turn() -> None:
    bounds = np.cumsum([0, *SIZES])
    for rank, files in enumerate(([0, 2], [1, 3])):
        starts = epoch_starts(loader(rank=rank, world_size=2))
        found = np.unique(np.searchsorted(bounds, starts, side="right") - 1)
        assert found.tolist() == [file for file in files if SIZES[file] > 10]


def test_shapes_shift_and_files() -> None:
    inputs, targets = next(loader(batch_size=4))
    assert inputs.shape == targets.shape == (4, 10)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets[:, :-1], inputs[:, 1:])
    ends = np.cumsum(SIZES)
    first, last = (np.searchsorted(ends, t.tolist(), side="right") for t in (inputs[:, 0], targets[:, -1]))
    assert np.array_equal(first, last)


def test_epochs_and_ranks_and_seeds_differ() -> None:
    def orders(**changes: int) -> tuple[list[int], list[int]]:
        source = loader([400, 400], **changes)
        first = [int(next(source)[0][0, 0]) for _ in range(30)]
        return first, epoch_starts(source)

    assert orders() == orders()
    first, later = orders()
    assert first != later[: len(first)]
    assert first != sorted(first)
    assert first != orders(seed=2)[0]
    one, other = (orders(rank=rank, world_size=2)[0] for rank in range(2))
    assert [start % 400 for start in one] != [start % 400 for start in other]


def test_a_file_is_drawn_as_often_as_it_has_sequences() -> None:
    starts = [int(next(loader([101, 301], seed=seed))[0][0, 0]) for seed in range(400)]
    assert np.mean(np.array(starts) >= 101) == pytest.approx(0.75, abs=0.06)


@given(before=st.integers(0, 200), batch_size=st.integers(1, 5), rank=st.integers(0, 1))
def test_resume_is_exact_on_every_rank_from_the_state_of_one(before: int, batch_size: int, rank: int) -> None:
    shape = {"batch_size": batch_size, "rank": rank, "world_size": 2}
    source, first = loader(**shape), loader(**{**shape, "rank": 0})
    for _ in range(before):
        next(source), next(first)
    resumed = loader(**shape)
    resumed.load_state_dict(first.state_dict())
    assert resumed.epoch == source.epoch
    for _ in range(12):
        for own, other in zip(next(source), next(resumed), strict=True):
            assert torch.equal(own, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "seed was 1, now 2"),
        ({"seq_len": 11}, "seq_len was 10, now 11"),
        ({"world_size": 2}, "world_size was 1, now 2"),
        ({"sizes": [*SIZES, 1]}, "tokens was 406, now 407"),
        ({"sizes": [169, 7, 230]}, "files was 4, now 3"),
    ],
)
def test_state_of_another_run_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"cannot resume the data: {message}"):
        loader(**changes).load_state_dict(loader().state_dict())


def test_a_rank_without_a_file_is_refused_on_every_rank() -> None:
    for rank in range(3):
        with pytest.raises(
            InputError, match=r"process 2 of 3 has no token file .* seq_len=10 .*; 4 files .*fewer"
        ):
            loader([105, 64, 7, 11], rank=rank, world_size=3)
    with pytest.raises(InputError, match="process 0 of 1 has no token file"):
        loader([10, 10])
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        loader(batch_size=0)


def test_the_shortest_file_has_one_sequence() -> None:
    inputs, targets = next(loader([11], batch_size=2))
    assert inputs.tolist() == [list(range(10))] * 2
    assert targets[0].tolist() == list(range(1, 11))


def test_the_loader_follows_the_stream(tmp_path: Path) -> None:
    settings = dict(batch_size=1, seq_len=10, seed=1)
    stream = public_stream(SIZES)
    assert isinstance(training_loader(stream, **settings), ShardLoader)
    assert isinstance(training_loader(TokenStream(stream.shards), **settings), TokenLoader)
    with pytest.raises(InputError, match="process 2 of 5"):
        training_loader(stream, **settings, rank=1, world_size=5)
