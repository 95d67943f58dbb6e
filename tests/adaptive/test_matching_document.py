"""Document mode: the longest earlier match in the document, the earliest of several, and who agrees."""

from collections.abc import Callable

import numpy as np
import pytest
from matching_forms import DOCUMENT, NOTHING, by_document_rule, cases, entries, last, most_kept, rule

from tmt.adaptive.matching import Matcher
from tmt.adaptive.matching.rule import Rule

A, B, C, D = 1, 2, 3, 4

pytestmark = pytest.mark.parametrize("make", DOCUMENT)
Make = Callable[[Rule], Matcher]


def test_every_entry_follows_the_rule(make: Make):
    fires = crosses = 0
    for settings, ids in cases(80):
        found = make(settings).advance(ids)
        x = ids.tolist()
        assert entries(found) == [by_document_rule(settings, x, g) for g in range(len(x))], settings
        fires, crosses = fires + (found.hint >= 0).sum(), crosses + found.cross.sum()
    assert fires > 1000
    assert crosses > 300


def test_a_phrase_and_what_followed_it(make: Make):
    assert last(make(rule()), 9, A, B, C, 7, 8, A, B) == (C, 2, 1, False)


def test_a_match_may_reach_the_first_token_and_overlap_the_text(make: Make):
    assert last(make(rule()), 0, A, B, C, 0, A) == NOTHING
    assert last(make(rule(document_start=-1)), 0, A, B, C, 0, A) == (B, 2, 1, False)
    assert last(make(rule()), 9, A, A) == (A, 1, 1, False)
    assert last(make(rule()), 9, A, A, A) == (A, 2, 2, False)


def test_the_longest_match_wins_beyond_the_cap(make: Make):
    ids = [7, A, B, 5, 8, A, B, 6, 8, A, B]
    assert last(make(rule(max_match=2)), *ids) == (6, 2, 1, False)


def test_votes_are_the_matches_that_are_long_enough(make: Make):
    ids = [9, 8, A, 5, A, 5, 7, A, 5, B, A, 5, 8, A]
    assert [last(make(rule(min_match=m)), *ids)[2] for m in (1, 2)] == [4, 1]


def test_a_match_crosses_from_the_distance_of_a_window_on(make: Make):
    ids = [A, B, C, D, 5, A]
    assert [last(make(rule(window=w, stride=1)), *ids)[3] for w in (4, 5, 6)] == [True, True, False]


def test_documents_know_nothing_of_each_other(make: Make):
    random = np.random.default_rng(4)
    pieces = [np.append(0, random.integers(1, 6, length)) for length in (0, 5, 0, 0, 90, 1, 40)]
    alone = [entry for piece in pieces for entry in entries(make(rule()).advance(piece))]
    assert entries(make(rule()).advance(np.concatenate(pieces))) == alone
    assert sum(entry != NOTHING for entry in alone) > 50


def test_long_documents_and_large_vocabularies(make: Make):
    """More memory than a piece needs: 450 phrases of 20 tokens, then all of them again in reversed order."""
    phrases = np.random.default_rng(5).permutation(9000).reshape(450, 20) + 1
    ids = np.concatenate([phrases.ravel(), phrases[::-1].ravel()])
    found = make(rule(vocab_size=9001, window=100)).advance(ids)
    following = np.append(ids[1:9000], phrases[-1, 0]).reshape(450, 20)
    assert (found.hint[:9000] == -1).all()
    assert (found.hint[9000:] == following[::-1].ravel()).all()
    assert (found.length[9000:] == np.tile(np.arange(1, 21), 450)).all()
    assert (found.cross[9000:] == (np.arange(9000) >= 40)).all()


@pytest.mark.parametrize("every", [40, 10**6], ids=["short documents", "one that is cut"])
def test_memory_is_that_of_a_document(make: Make, every: int):
    assert most_kept(make(rule(longest_document=60)), every) <= 64
