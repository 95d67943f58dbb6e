"""What was found in a source while it was read."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tmt.text.faults import Fault
from tmt.text.reading import Reading

SEPARATOR = "<|endoftext|>"
KNOWN_SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>")
"""What stands between the documents of corpora that are shipped as one text."""


@dataclass
class Tally:
    """Counts of one pass over a source.

    Attributes:
        documents: documents taken.
        crlf: those with line ends of Windows.
        parted: times that the separator that was asked for was found.
        null: rows whose text is null.
        faults: bad rows by their kind; the files that could not be read to their end count as rows.
        first: the message of the first bad row.
        separators: known separators by how often they stand in the documents.
    """

    documents: int = 0
    crlf: int = 0
    parted: int = 0
    null: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: str = ""
    separators: Counter[str] = field(default_factory=Counter)

    def see(self, document: str) -> None:
        """Count a document."""
        self.documents += 1
        self.crlf += "\r\n" in document
        for separator in KNOWN_SEPARATORS:
            if count := document.count(separator):
                self.separators[separator] += count

    def add_fault(self, fault: Fault) -> None:
        """Count a bad row."""
        self.faults[fault.kind] += 1
        self.first = self.first or fault.message

    def lines(self, reading: Reading) -> list[str]:
        """What a reader should know of it, a line each."""
        found = []
        if self.faults:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.faults.most_common())
            done = "left out" if reading.on_bad_row == "skip" else "replaced or left out"
            found.append(f"bad rows {done}: {kinds}; the first: {self.first}")
        if self.null:
            found.append(f"rows without text (null): {self.null:,}")
        if self.crlf:
            found.append(f"documents with line ends of Windows, kept as two bytes each: {self.crlf:,}")
        if reading.separator is not None and not self.parted:
            found.append(f"the separator {reading.separator!r} stands nowhere in the text")
        found += [
            f"{separator} stands {count:,} times inside of documents and is read as text; does it part them? "
            f"Then add --separator '{separator}'"
            for separator, count in self.separators.items()
        ]
        return found


def copies(documents: int, different: int, exact: bool = True) -> Iterable[str]:
    """A line where documents occur more than once."""
    if different < documents:
        about = "" if exact else "about "
        yield f"{documents:,} documents, {about}{different:,} different: equal ones share a split"
