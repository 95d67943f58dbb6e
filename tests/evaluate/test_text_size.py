from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_models import BYTES, stream
from tmt.evaluate import text_size as module
from tmt.evaluate.text_size import TextSize, text_size

TEXTS = ["two words", "no-break\u00a0space and  more ", "", " ends in a long line", "ünïcode 漢字", "x"]


@pytest.mark.parametrize("chunk", [1, 2, 7, 2**16])
def test_bytes_and_words_of_documents(chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    tokens = stream(*TEXTS)
    size = sum(len(t.encode()) for t in TEXTS)
    expected = TextSize(size, size, sum(len(t.split()) for t in TEXTS))
    assert text_size(tokens, BYTES, len(tokens) - 1) == expected


def test_a_word_does_not_run_on_into_the_next_document():
    tokens = stream("one", "two")
    assert text_size(tokens, BYTES, len(tokens) - 1).words == 2


@given(st.lists(st.text(), min_size=1, max_size=4), st.data())
def test_a_stretch_counts_its_own_bytes(texts: list[str], data: Any):
    tokens = stream(*texts)
    if len(tokens) < 2:
        return
    targets = data.draw(st.integers(1, len(tokens) - 1))
    raw = b"".join(BYTES.token_bytes(token) for token in tokens[1 : targets + 1].tolist())
    assert text_size(tokens, BYTES, targets).bytes == len(raw)


def test_a_character_cut_off_at_the_end_is_a_word_of_its_own_only_after_a_space():
    assert text_size(stream("a é"), BYTES, 3) == TextSize(3, 3, 2)
    assert text_size(stream("aé"), BYTES, 2) == TextSize(2, 2, 1)
