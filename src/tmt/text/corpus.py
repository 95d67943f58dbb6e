"""What every corpus offers, and the two local kinds: held in memory, or read again for each pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

from tmt.errors import InputError, unknown
from tmt.text.sections import enough_documents
from tmt.text.splits import bucket, cut_at_byte_shares

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class Corpus(ABC):
    """Documents in three disjoint splits: `train`, `valid` and `test`.

    Attributes:
        name: what the user called the corpus.
        key: hexadecimal digest that changes whenever the documents or their splits may change.
    """

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

    @abstractmethod
    def _documents(self, split: Split) -> Iterator[str]: ...


class MemoryCorpus(Corpus):
    """A corpus small enough to hold: splits are cut at 5 % and 5 % of the bytes.

    Fewer than 20 documents are first cut into contiguous sections (see :mod:`tmt.text.sections`).
    """

    def __init__(self, name: str, key: str, documents: list[str]) -> None:
        super().__init__(name, key)
        documents = enough_documents(documents)
        self._split_of = cut_at_byte_shares(documents)
        if not self._split_of:
            raise InputError(
                f"corpus {name!r} is too short: train, valid and test need at least three different "
                f"documents of 64 characters, found {len(documents)}; give it more text"
            )
        self._texts = documents

    def _documents(self, split: Split) -> Iterator[str]:
        return (text for text, own in zip(self._texts, self._split_of, strict=True) if own == split)


class StreamCorpus(Corpus):
    """A corpus read anew for each pass: a document's split follows from the hash of its text alone."""

    def __init__(self, name: str, key: str, read: Callable[[], Iterator[str]]) -> None:
        super().__init__(name, key)
        self._read = read

    def labelled(self) -> Iterator[tuple[Split, str]]:
        """Every document once with its split, in the order of the source."""
        return ((bucket(document), document) for document in self._read())

    def _documents(self, split: Split) -> Iterator[str]:
        return (document for own, document in self.labelled() if own == split)


class SplitCorpus(Corpus):
    """A corpus whose source names its splits: one function per split starts a fresh pass over it."""

    def __init__(self, name: str, key: str, readers: Mapping[Split, Callable[[], Iterator[str]]]) -> None:
        super().__init__(name, key)
        self._readers = readers

    def _documents(self, split: Split) -> Iterator[str]:
        return self._readers[split]()
