"""A stop string ends a text wherever tokens cut it, and no part of it is let through before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmt.generate import StopStrings


@settings(max_examples=300)
@given(st.lists(st.text("ab", max_size=4), max_size=8), st.lists(st.text("ab", max_size=4), max_size=3))
def test_what_comes_through_is_the_text_up_to_the_first(pieces: list[str], stops: list[str]):
    stopped, whole = StopStrings(stops), "".join(pieces)
    ends = [(whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop and stop in whole]
    expected = whole[: min(ends)[1]] if ends else whole
    seen = ""
    for piece in pieces:
        seen += stopped.push(piece)
        assert expected.startswith(seen)
    assert stopped.found == bool(ends)
    assert seen + stopped.flush() == expected


@pytest.mark.parametrize(
    ("pieces", "seen"),
    [
        (["x<", "|e", "nd|>", "y"], ["x", "", "", ""]),
        (["x<", "|a"], ["x", "<|a"]),
        (["<<", "|end|>"], ["<", ""]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_no_part_of_one_is_shown(pieces: list[str], seen: list[str]):
    stopped = StopStrings(["<|end|>"])
    assert [stopped.push(piece) for piece in pieces] == seen
