from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmt.errors import InputError
from tmt.evaluate.windows import Window, batches, check_windows, read_batch, windows
from tmt.model.common_config import ModelConfig


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_every_target_is_scored_once_with_the_promised_past(targets: int, context: int, stride: int):
    stride = min(stride, context)
    scored: list[int] = []
    for window in windows(targets, context, stride):
        end = window.start + window.length
        assert end <= targets
        assert 1 <= window.scored <= window.length <= context
        first = end - window.scored
        assert window.start == 0 or first - window.start >= context - stride
        scored += range(first, end)
    assert scored == list(range(targets))


def test_side_by_side():
    assert list(windows(10, 4, 4)) == [Window(0, 4, 4), Window(4, 4, 4), Window(8, 2, 2)]


def test_overlapping():
    assert list(windows(9, 4, 2)) == [Window(0, 4, 4), Window(2, 4, 2), Window(4, 4, 2), Window(6, 3, 1)]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_batches_hold_all_windows_in_order_and_equal_lengths(targets: int, context: int, size: int):
    cut = list(windows(targets, context, context))
    grouped = list(batches(iter(cut), size))
    assert list(chain.from_iterable(grouped)) == cut
    assert all(len(batch) <= size and len({w.length for w in batch}) == 1 for batch in grouped)


def test_a_batch_shifts_targets_and_hides_those_scored_before():
    inputs, targets = read_batch(np.arange(100, 120), [Window(0, 3, 3), Window(2, 3, 1)])
    assert inputs.tolist() == [[100, 101, 102], [102, 103, 104]]
    assert targets.tolist() == [[101, 102, 103], [-100, -100, 105]]


@pytest.mark.parametrize(
    ("length", "context", "stride", "named"),
    [(9, 0, 1, "context=0"), (9, 65, 1, "context=65"), (9, 8, 0, "stride=0"), (9, 8, 9, "stride=9"),
     (1, 8, 8, "2 tokens")],
)  # fmt: skip
def test_impossible_windows_are_refused(length: int, context: int, stride: int, named: str):
    with pytest.raises(InputError, match=named):
        check_windows(np.zeros(length, dtype=np.int64), context, stride, ModelConfig(max_seq_len=64))
