"""What followed the longest earlier match of a text as it ends now, from token ids alone.

Two rules, each in readable Python (`reference`) and in C:

- ``exact``: bound to the windows of a sliding score.
- ``document``: bound to the document alone, in a constant number of steps per token.
"""

from tmt.adaptive.matching import automaton, exact, reference
from tmt.adaptive.matching.compiled import Compiled
from tmt.adaptive.matching.rule import Matcher, Matches, Rule
from tmt.errors import unknown

__all__ = ["MODES", "Matcher", "Matches", "make_matcher"]

_FORMS: dict[str, tuple[type[Compiled], type[reference.Reference]]] = {
    "exact": (exact.Exact, reference.Exact),
    "document": (automaton.Document, reference.Document),
}

MODES = tuple(_FORMS)


def make_matcher(
    mode: str,
    *,
    vocab_size: int,
    document_start: int,
    window: int,
    stride: int,
    min_match: int = 1,
    max_match: int = 100,
) -> Matcher:
    """A matcher at the start of a stream, in C where a compiler is found.

    Let g be the latest position, W the window, m `min_match`. A candidate is an earlier position p with the
    token of g; its match is the common end of the texts up to p and up to g; what it proposes is the token
    after p. Both modes choose the candidate with the longest match, the earliest of several, among those
    that match m tokens or more, and count as votes the candidates that propose the same token.

    - ``exact``: g is scored in a window that starts at s = 0 where g < W, else
      s = stride·(⌊(g − W)/stride⌋ + 1). Candidates are s ≤ p ≤ g − 2, whatever documents begin there, and
      the crossing d ≤ p ≤ g − W − 1, where the document that contains s began at d; of both together the
      newest 512. A match reaches back to the token after s, or after d where it crosses, and counts
      `max_match` tokens at most, one in any case. Of equal ones that in the window wins. Memory is that of
      the tokens since d.
    - ``document``: candidates are all p < g of the document of g, whose first token is its `document_start`.
      The longest match wins, though one above `max_match` is reported as that. It crosses where p ≤ g − W.
      Memory is that of the longest document; a token takes the same time everywhere, on average.

    A document of more than 2**20 tokens is treated as several.

    Args:
        mode: one of `MODES`.
        vocab_size: tokens are 0 to vocab_size − 1.
        document_start: the token that each document begins with; -1 where none does. Before the first
            there is no document in ``exact`` mode, and an unfinished one in ``document`` mode.
        window: W, the tokens that the scoring model sees.
        stride: the tokens by which its windows advance; only ``exact`` asks.
        min_match: m, the fewest tokens that count as a match.
        max_match: the length at which longer matches are the same.

    Raises:
        InputError: an unknown mode or numbers that make no sense.
    """
    if mode not in MODES:
        raise unknown("matching mode", mode, MODES)
    rule = Rule(
        vocab_size=vocab_size,
        document_start=document_start,
        window=window,
        stride=stride,
        min_match=min_match,
        max_match=max_match,
    )
    compiled, plain = _FORMS[mode]
    return compiled(rule) if compiled.available() else plain(rule)
