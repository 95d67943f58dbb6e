"""The matchers under test, streams to feed them, and the two rules once more, from the whole stream."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tmt.adaptive.matching import Matcher, Matches, automaton, exact, reference
from tmt.adaptive.matching.rule import Rule
from tmt.ops import native

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")

EXACT = [pytest.param(exact.Exact, id="exact in C", marks=needs_compiler), reference.Exact]
DOCUMENT = [pytest.param(automaton.Document, id="document in C", marks=needs_compiler), reference.Document]

Entry = tuple[int, int, int, bool]
NOTHING: Entry = (-1, 0, 0, False)


def rule(**given: int) -> Rule:
    return Rule(**{**dict(vocab_size=10, document_start=0, window=64, stride=8), **given})


def cases(count: int) -> Iterator[tuple[Rule, np.ndarray]]:
    """Rules with small numbers and streams of few tokens, some of them frequent, some repeating."""
    random = np.random.default_rng(7)
    for _ in range(count):
        vocab, window, fewest = (int(random.integers(*range_)) for range_ in ((2, 7), (1, 40), (1, 4)))
        yield (
            rule(
                vocab_size=vocab,
                document_start=int(random.integers(-1, vocab)),
                window=window,
                stride=int(random.integers(1, window + 1)),
                min_match=fewest,
                max_match=fewest + int(random.integers(0, 10)),
                occurrences=int(random.integers(1, 40)),
                longest_document=int(random.integers(1, 250)),
            ),
            stream(random, vocab, int(random.integers(1, 200))),
        )


def stream(random: np.random.Generator, vocab: int, length: int) -> np.ndarray:
    ids = random.choice(vocab, length, p=random.dirichlet(np.ones(vocab)))
    half = length // 2
    if random.random() < 0.5:
        ids[half : 2 * half] = ids[:half]
    return ids


def entries(matches: Matches) -> list[Entry]:
    columns = (matches.hint, matches.length, matches.votes, matches.cross)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def last(matcher: Matcher, *ids: int) -> Entry:
    """The entry of the last of these ids."""
    return entries(matcher.advance(np.array(ids)))[-1]


def most_kept(matcher: Matcher, every: int) -> int:
    """The most tokens of which it keeps something, in pieces of 100 with a document start `every` so many."""
    ids = np.random.default_rng(3).integers(1, 10, 5000)
    ids[::every] = 0
    kept = []
    for piece in np.split(ids, 50):
        matcher.advance(piece)
        kept.append(len(matcher._text.token if isinstance(matcher, reference.Reference) else matcher._places))
    return max(kept)


def by_exact_rule(rule: Rule, x: list[int], g: int) -> Entry:
    window_start = 0 if g < rule.window else rule.stride * ((g - rule.window) // rule.stride + 1)
    bound, t = g - rule.window + 1, g - window_start
    found = {(p, False): window_start for p in range(window_start, g - 1)}
    starts = [d for d in document_starts(rule, x, False) if d <= window_start]
    if starts and bound - starts[-1] > rule.min_match:
        found |= {(p, True): starts[-1] for p in range(starts[-1], bound - 1)}
    same = sorted((p, cross, origin) for (p, cross), origin in found.items() if x[p] == x[g])
    lengths = {
        (p, cross): max(1, min(suffix(x, p, g), rule.max_match, p - origin, t))
        for p, cross, origin in same[-rule.occurrences :]
    }
    return choice(rule, x, lengths, lambda p, cross: (cross, p))


def by_document_rule(rule: Rule, x: list[int], g: int) -> Entry:
    start = max(d for d in document_starts(rule, x, True) if d <= g)
    own = x[start : g + 1]
    at = len(own) - 1
    lengths = {(p, p < at - rule.window + 1): suffix(own, p, at) for p in range(at) if own[p] == own[at]}
    hint, length, votes, cross = choice(rule, own, lengths, lambda p, cross: p)
    return hint, min(length, rule.max_match), votes, cross


def document_starts(rule: Rule, x: list[int], first: bool) -> list[int]:
    """Where documents begin, `first`: one at the stream's start in any case."""
    starts = [0] if first else []
    for p, token in enumerate(x):
        if token == rule.document_start or (starts and p - starts[-1] == rule.longest_document):
            starts.append(p)
    return starts


def suffix(x: list[int], p: int, g: int) -> int:
    """The longest end that x[: p + 1] and x[: g + 1] have in common."""
    return next((k for k in range(p + 1) if x[p - k] != x[g - k]), p + 1)


def choice(
    rule: Rule, x: list[int], lengths: dict[tuple[int, bool], int], order: Callable[[int, bool], object]
) -> Entry:
    kept = {key: length for key, length in lengths.items() if length >= rule.min_match}
    if not kept:
        return NOTHING
    longest = max(kept.values())
    p, cross = min((key for key in kept if kept[key] == longest), key=lambda key: order(*key))
    hint = x[p + 1]
    return hint, longest, sum(x[p + 1] == hint for p, _ in kept), cross
