"""What every corpus offers, and the two local kinds: held in memory, or read again for each pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, get_args

from tmt.errors import InputError, unknown
from tmt.text.reading import Reading
from tmt.text.sections import FEWEST_DOCUMENTS, section_size, sections
from tmt.text.splits import NEAR, cut_at_byte_shares, shares_near
from tmt.text.survey import Cut, Survey
from tmt.text.tally import Tally, copies

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Part = Literal["train", "valid", "test", "all"]
"""A split, or the whole."""
PARTS: tuple[Part, ...] = get_args(Part)


class Corpus(ABC):
    """Documents in three disjoint splits: `train`, `valid` and `test`.

    Attributes:
        name: what the user called the corpus.
        key: hexadecimal digest that changes whenever the documents or their splits may change.
        listing: which files of a folder were taken and which not, in one line; "" where it is no folder.
        names_splits: whether the source says itself which documents are held out.
    """

    listing: str = ""
    names_splits: bool = False

    def __init__(self, name: str, key: str) -> None:
        self.name = name
        self.key = key

    def documents(self, split: Split) -> Iterator[str]:
        """The documents of one split, in a fixed order.

        Raises:
            InputError: `split` is not one of the three, or a source cannot be read.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        return self._documents(split)

    def labelled(self) -> Iterator[tuple[Split, str]]:
        """Every document once with its split; each split comes in the order of :meth:`documents`.

        Reads a source that does not name its splits once instead of three times.
        """
        for split in SPLITS:
            for document in self._documents(split):
                yield split, document

    def whole(self) -> Iterator[str]:
        """Every document once and uncut, in the order of the source; there may be too few for splits."""
        return (document for split in SPLITS for document in self._documents(split))

    def notes(self) -> Sequence[str]:
        """What a reader should know of the documents, a line each; complete once they have been read."""
        return ()

    @abstractmethod
    def _documents(self, split: Split) -> Iterator[str]: ...


class MemoryCorpus(Corpus):
    """A corpus small enough to hold: splits are cut at 5 % and 5 % of the bytes.

    Fewer than 20 documents are first cut into contiguous sections (see :mod:`tmt.text.sections`), and so
    are more, where whole ones come no nearer to these shares than 2 %.
    """

    def __init__(self, name: str, key: str, documents: list[str], notes: Sequence[str] = ()) -> None:
        super().__init__(name, key)
        different = len(set(documents))
        self._notes = (*notes, *copies(len(documents), different))
        self._whole = documents

    def whole(self) -> Iterator[str]:
        """See :class:`Corpus`."""
        return iter(self._whole)

    def notes(self) -> Sequence[str]:
        """See :class:`Corpus`."""
        return self._notes

    def _documents(self, split: Split) -> Iterator[str]:
        texts, splits = self._in_splits
        return (text for text, own in zip(texts, splits, strict=True) if own == split)

    @cached_property
    def _in_splits(self) -> tuple[list[str], list[Split]]:
        texts, splits = _in_splits(self._whole)
        if not splits:
            raise _too_short(self.name, len(self._whole), len(set(self._whole)))
        return texts, splits


class StreamCorpus(Corpus):
    """A corpus read anew for each pass: a document's split follows from the hash of its text.

    A first pass finds out whether that gives shares within 1 % of 5 % of the bytes; if not, the bounds are
    moved, and documents larger than 1 % are cut into sections.

    Args:
        name, key: see :class:`Corpus`.
        read: a pass over the documents, which counts them in a tally.
        reading: how they are read.
    """

    def __init__(
        self, name: str, key: str, read: Callable[[Tally], Iterator[str]], reading: Reading | None = None
    ) -> None:
        super().__init__(name, key)
        self._read = read
        self._reading = reading or Reading()
        self._notes: Sequence[str] = ()

    def labelled(self) -> Iterator[tuple[Split, str]]:
        """Every document once with its split, in the order of the source."""
        cut = self._cut
        return ((cut.split(piece), piece) for piece in self._pieces(cut))

    def whole(self) -> Iterator[str]:
        """See :class:`Corpus`."""
        tally = Tally()
        yield from self._read(tally)
        self._notes = tally.lines(self._reading)

    def notes(self) -> Sequence[str]:
        """See :class:`Corpus`."""
        return self._notes

    def _documents(self, split: Split) -> Iterator[str]:
        return (document for own, document in self.labelled() if own == split)

    def _pieces(self, cut: Cut) -> Iterator[str]:
        return (piece for document in self._read(Tally()) for piece in cut.pieces(document))

    @cached_property
    def _cut(self) -> Cut:
        tally = Tally()
        survey = whole = Survey(self._read(tally))
        self._notes = (*tally.lines(self._reading), *copies(whole.count, whole.different, whole.exact))
        section = 0
        if not whole.whole_will_do():
            section = section_size(whole.characters)
            survey = Survey(self._pieces(Cut(section=section)))
        cut = survey.cut(section)
        if cut is None:
            raise _too_short(self.name, whole.count, whole.different)
        return cut


class SplitCorpus(Corpus):
    """A corpus whose source names its splits: one function per split starts a fresh pass over it."""

    names_splits = True

    def __init__(
        self,
        name: str,
        key: str,
        readers: Mapping[Split, Callable[[], Iterator[str]]],
        notes: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        super().__init__(name, key)
        self._readers = readers
        self._notes = notes

    def notes(self) -> Sequence[str]:
        """See :class:`Corpus`."""
        return self._notes()

    def _documents(self, split: Split) -> Iterator[str]:
        return self._readers[split]()


def _in_splits(documents: list[str]) -> tuple[list[str], list[Split]]:
    """Documents, or sections of them, and the split of each; none where they are too few."""
    size = section_size(sum(map(len, documents)))
    if len(documents) >= FEWEST_DOCUMENTS:
        for beyond, off in ((None, NEAR), (NEAR, NEAR), (None, 2 * NEAR)):
            splits = cut_at_byte_shares(documents, beyond)
            if shares_near(documents, splits, off):
                return documents, splits
        if max(map(len, documents)) <= size:
            return documents, splits  # of copies, which stay together
    parts = [part for document in documents for part in sections(document, size)]
    return parts, cut_at_byte_shares(parts)


def _too_short(name: str, documents: int, different: int) -> InputError:
    return InputError(
        f"corpus {name!r} is too short: train, valid and test need at least three different documents of "
        f"64 characters, found {different:,} different ({documents:,} documents); give it more text"
    )
