"""The two rules in readable Python: what compiled code must equal, and what serves without a compiler."""

from abc import ABC, abstractmethod
from collections import defaultdict, deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tmt.adaptive.matching.rule import Matches, Rule


class _Match(NamedTuple):
    hint: int = -1
    length: int = 0
    votes: int = 0
    cross: bool = False


class Reference(ABC):
    """What both rules share: a stream, and the match at each of its positions."""

    def __init__(self, rule: Rule):
        self._rule, self._text = rule, _Text()

    def advance(self, ids: npt.NDArray[np.int64]) -> Matches:
        """See :meth:`tmt.adaptive.matching.Matcher.advance`."""
        tokens = self._rule.tokens(ids).tolist()
        found = Matches.none(len(tokens))
        for i, token in enumerate(tokens):
            found.hint[i], found.length[i], found.votes[i], found.cross[i] = self._append(token)
        return found

    @abstractmethod
    def _append(self, token: int) -> _Match: ...

    def _kept(self, lengths: dict[int, int]) -> dict[int, int]:
        """The candidates that are long enough: positions with the lengths of their matches."""
        return {p: length for p, length in lengths.items() if length >= self._rule.min_match}

    def _votes(self, hint: int, kept: dict[int, int]) -> int:
        return sum(self._text.token[p + 1] == hint for p in kept)


class Exact(Reference):
    """Matches in the windows of a sliding score, and in what these lost of their document."""

    def __init__(self, rule: Rule):
        super().__init__(rule)
        self._documents: deque[int] = deque()  # where that of the window's start began, and later ones

    def _append(self, token: int) -> _Match:
        rule, text, documents = self._rule, self._text, self._documents
        g = text.append(token)
        full = documents and g - documents[-1] == rule.longest_document
        if full or token == rule.document_start:
            documents.append(g)
        start = 0 if g < rule.window else rule.stride * ((g - rule.window) // rule.stride + 1)
        while len(documents) > 1 and documents[1] <= start:
            documents.popleft()
        first = documents[0] if documents and documents[0] <= start else start
        text.forget(before=first)
        seen, lost = range(start, g - 1), range(first, g - rule.window)
        candidates = [p for p in text.positions[token] if p in seen or p in lost][-rule.occurrences :]
        reach = {p: min(rule.max_match, p - (first if p in lost else start), g - start) for p in candidates}
        kept = self._kept({p: max(1, text.common(p, g, reach[p])) for p in candidates})
        if not kept:
            return _Match()
        best = max(kept, key=lambda p: (kept[p], p in seen, -p))
        hint = text.token[best + 1]
        return _Match(hint, kept[best], self._votes(hint, kept), best in lost)


class Document(Reference):
    """Matches in the whole of a document."""

    def __init__(self, rule: Rule):
        super().__init__(rule)
        self._start = 0

    def _append(self, token: int) -> _Match:
        rule, text = self._rule, self._text
        g = text.append(token)
        if token == rule.document_start or g - self._start == rule.longest_document:
            self._start = g
            text.forget(before=g)
        candidates = [p for p in text.positions[token] if p < g]
        kept = self._kept({p: text.common(p, g, p - self._start + 1) for p in candidates})
        if not kept:
            return _Match()
        best = max(kept, key=lambda p: (kept[p], -p))
        hint = text.token[best + 1]
        length = min(kept[best], rule.max_match)
        return _Match(hint, length, self._votes(hint, kept), best <= g - rule.window)


class _Text:
    """The last tokens of a stream by position, and the positions of each token, ascending."""

    def __init__(self):
        self.token: dict[int, int] = {}
        self.positions: defaultdict[int, deque[int]] = defaultdict(deque)
        self._first = self._end = 0

    def append(self, token: int) -> int:
        """The position that the token takes."""
        position = self._end
        self.token[position] = token
        self.positions[token].append(position)
        self._end += 1
        return position

    def forget(self, before: int) -> None:
        """Drop the positions before one."""
        for position in range(self._first, before):
            self.positions[self.token.pop(position)].popleft()
        self._first = max(self._first, before)

    def common(self, p: int, g: int, most: int) -> int:
        """How many tokens the texts up to p and up to g have in common at their ends; `most` at most."""
        count = 0
        while count < most and self.token[p - count] == self.token[g - count]:
            count += 1
        return count
