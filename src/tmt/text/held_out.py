"""A corpus whose held-out splits are other corpora."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

from tmt.text.corpus import Corpus, Split


class HeldOutCorpus(Corpus):
    """A corpus to train on, and others of which each is wholly its validation or its test split.

    What the main corpus would have held out for a split that is given is trained on, unless it names its
    splits itself; a split that is not given stays that of the main corpus.

    Args:
        main: what is trained on.
        held: `valid`, `test` or both.
    """

    names_splits = True

    def __init__(self, main: Corpus, held: Mapping[Split, Corpus]) -> None:
        keys = [(split, corpus.key) for split, corpus in sorted(held.items())]
        super().__init__(main.name, sha256(repr((main.key, keys)).encode()).hexdigest())
        self._main = main
        self._held = held
        self.listing = "; ".join(filter(None, (corpus.listing for corpus in (main, *held.values()))))

    def whole(self) -> Iterator[str]:
        """The main corpus."""
        return self._main.whole()

    def notes(self) -> Sequence[str]:
        """See :class:`Corpus`."""
        held = (f"{split}: {note}" for split, corpus in self._held.items() for note in corpus.notes())
        return (*self._main.notes(), *held)

    def _documents(self, split: Split) -> Iterator[str]:
        if split in self._held:
            return self._held[split].whole()
        if split != "train" or self._main.names_splits:
            return self._main.documents(split)
        if len(self._held) == 2:
            return self._main.whole()
        return (text for own, text in self._main.labelled() if own == "train" or own in self._held)
