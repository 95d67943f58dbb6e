"""A run and its baseline stand in one table only where they were scored on the same text in the same way."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tmt.adaptive import PassSettings, ScoreSettings, Task
from tmt.commands.score_comparison import require_alike
from tmt.errors import InputError
from tmt.tokens.byte_level import ByteTokenizer

CUT = ScoreSettings(PassSettings(window=16, stride=4, chunk=64))
TEXT = np.frombuffer(b"Fellow citizens of the Senate and of the House", np.uint8).astype(np.int64)
TASK = Task(TEXT, "sotu, test split")


def require(own: ScoreSettings = CUT, **other: object) -> None:
    runs = [SimpleNamespace(tokenizer=ByteTokenizer(), folder=Path()) for _ in range(2)]
    limit = other.get("limit")
    require_alike(runs, [CUT, own], [replace(TASK, limit=limit), replace(TASK, **other)])  # type: ignore[list-item]


def test_the_same_text_in_the_same_windows():
    require()
    require(tokens=TEXT.copy(), limit=20)


def test_other_tokens_that_spell_as_many_bytes_of_the_same_text():
    require(tokens=np.where(np.arange(len(TEXT)) == 20, 65, TEXT))


def test_other_windows_are_refused():
    with pytest.raises(InputError, match="window/stride/chunk 16/4/64 and 16/8/64: give all three"):
        require(replace(CUT, cut=replace(CUT.cut, stride=8)))


@pytest.mark.parametrize("other", [{"tokens": TEXT[:-3]}, {"tokens": TEXT[::-1], "name": "other"}])
def test_other_texts_are_refused(other: dict[str, object]):
    with pytest.raises(InputError, match=r"texts, sotu, test split \(45 bytes of text\) and .* --data"):
        require(**other)


def test_a_limit_ends_other_tokens_elsewhere():
    with pytest.raises(InputError, match="leave it out"):
        require(tokens=TEXT[::-1], limit=20)
