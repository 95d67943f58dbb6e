"""A first pass over a corpus that is not held: how its splits are cut, known before anything is tokenised."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from tmt.text.sections import FEWEST_DOCUMENTS, SECTIONS, sections
from tmt.text.splits import HELD_OUT, NEAR, position

_MOST = 60_000
"""Hashes told apart; of more, so many spans of them. A multiple of 20, so that 5 % is the end of a span."""


@dataclass(frozen=True)
class Cut:
    """The splits of a stream: a document's follows from the hash of its text, a number in [0, 1).

    Attributes:
        valid_end: documents below it are `valid`.
        test_end: others below it are `test`, the rest `train`.
        section: documents are cut into sections of so many characters first; 0: they stay whole.
    """

    valid_end: float = HELD_OUT
    test_end: float = 2 * HELD_OUT
    section: int = 0

    def pieces(self, document: str) -> Iterator[str]:
        """The sections of a document, or the document."""
        return sections(document, self.section) if self.section else iter((document,))

    def split(self, piece: str) -> Literal["train", "valid", "test"]:
        """The split of a piece."""
        where = position(piece)
        if where < self.valid_end:
            return "valid"
        return "test" if where < self.test_end else "train"


@dataclass
class Survey:
    """What one pass over the documents of a stream found, in memory that does not grow with it.

    Attributes:
        count: documents.
        characters: of all of them.
        largest: UTF-8 bytes of the largest.
        exact: whether :attr:`different` is a count; else it is an estimate, from those documents whose
            hashes are below a bound that falls as more come.
    """

    documents: Iterable[str]
    count: int = 0
    characters: int = 0
    largest: int = 0
    exact: bool = True
    _bytes: Counter[float] = field(default_factory=Counter)
    _kept: set[float] = field(default_factory=set)
    _bound: float = 1.0

    def __post_init__(self):
        """Make the pass."""
        for document in self.documents:
            size, where = len(document.encode()), position(document)
            self.count += 1
            self.characters += len(document)
            self.largest = max(self.largest, size)
            self._bytes[where if self.exact else _span(where)] += size
            self._keep(where)

    @property
    def different(self) -> int:
        """How many of the documents are different."""
        return round(len(self._kept) / self._bound)

    def whole_will_do(self) -> bool:
        """Whether whole documents can fill three splits."""
        small = self.largest * SECTIONS <= self._bytes.total()
        return self.count >= FEWEST_DOCUMENTS and (small or self._near(Cut()))

    def cut(self, section: int = 0) -> Cut | None:
        """Splits of 5 % of the bytes: by the hash alone where that is near, else moved to be.

        Returns:
            None where too few documents are different for three splits.
        """
        if self._near(Cut()):
            return Cut(section=section)
        places = sorted(self._bytes)
        if len(places) < 3:
            return None
        sums = [0, *accumulate(map(self._bytes.__getitem__, places))]
        target = HELD_OUT * sums[-1]
        first = _nearest(sums, target, 1, len(places) - 2)
        second = _nearest(sums, sums[first] + target, first + 1, len(places) - 1)
        return Cut(places[first], places[second], section)

    def _near(self, cut: Cut) -> bool:
        valid = sum(size for where, size in self._bytes.items() if where < cut.valid_end)
        test = sum(size for where, size in self._bytes.items() if cut.valid_end <= where < cut.test_end)
        total = max(self._bytes.total(), 1)
        return all(abs(part / total - HELD_OUT) <= NEAR for part in (valid, test))

    def _keep(self, where: float) -> None:
        if where < self._bound:
            self._kept.add(where)
        if len(self._kept) <= _MOST:
            return
        if self.exact:
            self.exact = False
            spans: Counter[float] = Counter()
            for place, size in self._bytes.items():
                spans[_span(place)] += size
            self._bytes = spans
        self._bound /= 2
        self._kept = {kept for kept in self._kept if kept < self._bound}


def _span(where: float) -> float:
    return int(where * _MOST) / _MOST


def _nearest(sums: list[int], target: float, lowest: int, highest: int) -> int:
    """The index from `lowest` to `highest` whose sum is nearest to `target`."""
    return min(range(lowest, highest + 1), key=lambda index: abs(sums[index] - target))
