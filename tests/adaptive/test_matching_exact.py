"""Exact mode follows the record's rule: its windows, the prefix they lost, and its edges."""

from collections.abc import Callable

import numpy as np
import pytest
from matching_forms import EXACT, NOTHING, by_exact_rule, cases, entries, last, most_kept, rule

from tmt.adaptive.matching import Matcher
from tmt.adaptive.matching.rule import Rule

A, B, C = 1, 2, 3

pytestmark = pytest.mark.parametrize("make", EXACT)
Make = Callable[[Rule], Matcher]


def test_every_entry_follows_the_rule(make: Make):
    fires = crosses = 0
    for settings, ids in cases(80):
        found = make(settings).advance(ids)
        x = ids.tolist()
        assert entries(found) == [by_exact_rule(settings, x, g) for g in range(len(x))], settings
        fires, crosses = fires + (found.hint >= 0).sum(), crosses + found.cross.sum()
    assert fires > 1000
    assert crosses > 300


def test_a_phrase_and_what_followed_it(make: Make):
    assert last(make(rule()), 9, A, B, C, 7, 8, A, B) == (C, 2, 1, False)


def test_the_first_token_of_a_window_is_never_compared(make: Make):
    assert last(make(rule()), A, B, C, 7, 8, A, B) == (C, 1, 1, False)


def test_the_token_just_before_is_no_candidate(make: Make):
    assert last(make(rule()), 9, A, A) == NOTHING
    assert last(make(rule()), 9, A, A, A) == (A, 1, 1, False)


def test_of_equal_matches_the_earliest_wins_and_votes_are_for_its_hint(make: Make):
    assert last(make(rule()), 9, A, 5, 7, A, 6, 8, A, 6, 3, A, 5, 4, A) == (5, 1, 2, False)


def test_matches_count_up_to_the_cap_and_are_equal_from_there(make: Make):
    ids = [9, 7, A, B, 5, 8, A, B, 6, 8, A, B]
    assert last(make(rule()), *ids) == (6, 3, 1, False)
    assert last(make(rule(max_match=2)), *ids) == (5, 2, 1, False)


def test_a_token_may_begin_a_document_and_be_the_hint(make: Make):
    assert last(make(rule()), 9, A, B, 0, 8, A, B) == (0, 2, 1, False)


@pytest.fixture
def planted() -> np.ndarray:
    """A phrase 3,000 tokens before the end, where it begins again; all other tokens differ."""
    ids = np.arange(10, 3110)
    ids[0], ids[100:103], ids[-2:] = 0, (A, B, C), (A, B)
    return ids


def test_a_phrase_that_the_window_lost_is_found_in_its_document_alone(make: Make, planted: np.ndarray):
    settings = rule(vocab_size=4000, window=2048, stride=64)
    assert last(make(settings), *planted) == (C, 2, 1, True)
    planted[500] = 0
    assert last(make(settings), *planted) == NOTHING
    planted[0] = planted[500] = 9
    assert last(make(settings), *planted) == NOTHING  # in no document


def test_a_document_that_begins_in_the_window_does_not_hide_the_lost_prefix(make: Make, planted: np.ndarray):
    planted[-10] = 0
    assert last(make(rule(vocab_size=4000, window=2048, stride=64)), *planted) == (C, 2, 1, True)


def test_within_wins_over_cross_at_equal_length(make: Make):
    assert last(make(rule(window=4, stride=1)), 0, A, 5, 7, 8, A, 6, 9, A) == (6, 1, 1, False)


def test_what_lies_between_prefix_and_window_is_in_neither(make: Make):
    settings = rule(vocab_size=20, window=4, stride=4)
    found = make(settings).advance(np.array([0, 11, 12, 13, 14, A, B, 15, A, 16]))
    assert entries(found)[8] == NOTHING  # the window starts at 8, the prefix ends at 3


def test_the_newest_512_occurrences_count(make: Make):
    phrase, settings = [9, 8, A, 7], rule(window=2048, stride=64, max_match=2)
    assert last(make(settings), *phrase, *[A, 6] * 511, 8, A) == (7, 2, 1, False)
    assert last(make(settings), *phrase, *[A, 6] * 512, 8, A) == (6, 1, 512, False)


@pytest.mark.parametrize("every", [40, 10**6], ids=["short documents", "one that is cut"])
def test_memory_is_that_of_a_document_a_window_and_a_piece(make: Make, every: int):
    """C code rounds up to a power of two: 60 + 32 + 8 + 100 < 256."""
    assert most_kept(make(rule(window=32, stride=8, longest_document=60)), every) <= 256
