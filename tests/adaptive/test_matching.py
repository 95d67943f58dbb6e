"""What every matcher does: read in pieces, know nothing of what comes, and refuse what is no token."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from matching_forms import DOCUMENT, EXACT, cases, entries, needs_compiler, rule

from tmt.adaptive.matching import MODES, Matcher, automaton, compiled, exact, make_matcher, reference
from tmt.adaptive.matching.rule import Rule
from tmt.errors import InputError

SIZES = dict(vocab_size=10, document_start=0, window=64, stride=8)
Make = Callable[[Rule], Matcher]

every_form = pytest.mark.parametrize("make", EXACT + DOCUMENT)


@every_form
def test_pieces_of_any_size_give_the_same(make: Make):
    random = np.random.default_rng(1)
    for settings, ids in cases(40):
        whole = entries(make(settings).advance(ids))
        cuts = np.sort(random.integers(0, len(ids) + 1, 6))
        matcher = make(settings)
        assert [entry for piece in np.split(ids, cuts) for entry in entries(matcher.advance(piece))] == whole


@every_form
def test_nothing_that_follows_changes_an_entry(make: Make):
    random = np.random.default_rng(2)
    for settings, ids in cases(40):
        g = int(random.integers(0, len(ids)))
        other = np.concatenate([ids[: g + 1], random.integers(0, settings.vocab_size, len(ids) - g - 1)])
        before, after = (entries(make(settings).advance(x)) for x in (ids, other))
        assert before[: g + 1] == after[: g + 1]


@every_form
def test_a_lower_bar_never_stops_a_hint(make: Make):
    for settings, ids in cases(40):
        fires = []
        for fewest in (1, 2, 3, 4):
            numbers = {**vars(settings), "min_match": fewest, "max_match": 12}
            fires.append(make(Rule(**numbers)).advance(ids).hint >= 0)
        for low, high in pairwise(fires):
            assert (low | ~high).all()


@every_form
def test_types_and_no_tokens_at_all(make: Make):
    matcher = make(rule())
    for count in (0, 1, 0, 3):
        found = matcher.advance(np.ones(count, np.int64))
        assert [x.shape for x in vars(found).values()] == [(count,)] * 4
        assert [x.dtype for x in vars(found).values()] == [np.int64, np.int32, np.int32, np.bool_]


@every_form
def test_any_integers_in_any_layout_are_read(make: Make):
    ids = np.tile([1, 2, 3, 4], 6)
    expected = entries(make(rule()).advance(ids))
    spaced = np.zeros((len(ids), 2), np.uint16)
    spaced[:, 1] = ids
    assert entries(make(rule()).advance(spaced[:, 1])) == expected


@every_form
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([1, 2, 10]), "token 10 is outside the vocabulary, 0 to 9"),
        (np.array([1, -1]), "token -1 is outside"),
        (np.ones(3), "float64"),
        (np.ones((1, 3), np.int64), r"shape \(1, 3\)"),
    ],
    ids=["too large", "negative", "no integers", "no row"],
)
def test_refused_ids_leave_the_matcher_as_it_was(make: Make, ids: np.ndarray, message: str):
    matcher = make(rule())
    matcher.advance(np.array([9, 1, 2, 3]))
    with pytest.raises(InputError, match=message):
        matcher.advance(ids)
    assert entries(matcher.advance(np.array([1, 2])))[-1][:3] == (3, 2, 1)


@needs_compiler
def test_where_no_compiler_is_found_python_does_the_same(monkeypatch: pytest.MonkeyPatch):
    forms = {mode: type(make_matcher(mode, **SIZES)) for mode in MODES}
    assert forms == {"exact": exact.Exact, "document": automaton.Document}
    monkeypatch.setattr(compiled.native, "load", lambda source: None)
    forms = {mode: type(make_matcher(mode, **SIZES)) for mode in MODES}
    assert forms == {"exact": reference.Exact, "document": reference.Document}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(vocab_size=0), "vocab_size is 0"),
        (dict(document_start=10), "document_start 10 .* 0 to 9, or -1"),
        (dict(document_start=-2), "document_start -2"),
        (dict(window=0), "window is 0"),
        (dict(stride=0), "stride is 0"),
        (dict(stride=65), "1 to the window, 64"),
        (dict(min_match=0), "matches of 0 to 100"),
        (dict(min_match=5, max_match=4), "matches of 5 to 4"),
    ],
    ids=str,
)
def test_numbers_that_make_no_sense(given: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        make_matcher("exact", **{**SIZES, **given})


def test_a_mode_that_there_is_not():
    with pytest.raises(InputError, match="did you mean document"):
        make_matcher("documents", **SIZES)
