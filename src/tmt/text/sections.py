"""Cut a corpus of very few documents (one book, say) into sections, so that three splits exist."""

import re
from collections.abc import Iterator
from itertools import chain

FEWEST_DOCUMENTS = 20
SECTIONS = 100
SHORTEST = 64

_PARAGRAPHS = re.compile(r"(?<=\n)(?:[ \t]*\n)+")
_LINES = re.compile(r"\n")


def enough_documents(documents: list[str]) -> list[str]:
    """`documents` as they are where there are 20 or more, else cut into about 100 sections in all.

    A section is at least a hundredth of the corpus and 64 characters long, and ends at a blank line;
    a paragraph of more than twice that is cut at line ends, a line of more than twice that after a
    fixed number of characters. Joined together, the sections of a document are the document.
    """
    if len(documents) >= FEWEST_DOCUMENTS:
        return documents
    size = max(sum(map(len, documents)) // SECTIONS, SHORTEST)
    sections = chain.from_iterable(_sections(document, size) for document in documents)
    return [section for section in sections if section.strip()]


def _sections(document: str, size: int) -> Iterator[str]:
    held = ""
    for piece in _pieces(document, size):
        held += piece
        if len(held) >= size:
            yield held
            held = ""
    if held:
        yield held


def _pieces(document: str, size: int) -> Iterator[str]:
    """Paragraphs; lines of long paragraphs; spans of long lines."""
    for paragraph in _split_after(_PARAGRAPHS, document):
        if len(paragraph) <= 2 * size:
            yield paragraph
            continue
        for line in _split_after(_LINES, paragraph):
            if len(line) <= 2 * size:
                yield line
            else:
                yield from (line[i : i + size] for i in range(0, len(line), size))


def _split_after(boundary: re.Pattern[str], text: str) -> Iterator[str]:
    start = 0
    for match in boundary.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]
