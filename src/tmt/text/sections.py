"""Cut documents into sections where whole ones cannot fill three splits (one book, say)."""

import re
from collections.abc import Iterator
from io import StringIO

FEWEST_DOCUMENTS = 20
SECTIONS = 100
SHORTEST = 64
LONGEST = 2**21

_BLANK_LINES = re.compile(r"(?<=\n)(?:[ \t]*\r?\n)+")


def section_size(characters: int) -> int:
    """Least characters of a section of a corpus of so many: a hundredth of it, within bounds."""
    return min(max(characters // SECTIONS, SHORTEST), LONGEST)


def sections(document: str, size: int) -> Iterator[str]:
    """`document` in sections of at least `size` characters but for the last, those with text in them.

    A section ends at a blank line; a paragraph of more than twice that is cut at line ends, a line of more
    than twice that after a fixed number of characters. Joined together they are the document, if none of
    them is blank.
    """
    return (section for section in _sections(document, size) if section.strip())


def _sections(document: str, size: int) -> Iterator[str]:
    held: list[str] = []
    length = 0
    for piece in _pieces(document, size):
        held.append(piece)
        length += len(piece)
        if length >= size:
            yield "".join(held)
            held, length = [], 0
    if held:
        yield "".join(held)


def _pieces(document: str, size: int) -> Iterator[str]:
    """Paragraphs; lines of long paragraphs; spans of long lines."""
    for paragraph in _paragraphs(document):
        if len(paragraph) <= 2 * size:
            yield paragraph
            continue
        for line in StringIO(paragraph, newline="\n"):
            if len(line) <= 2 * size:
                yield line
            else:
                yield from (line[i : i + size] for i in range(0, len(line), size))


def _paragraphs(text: str) -> Iterator[str]:
    start = 0
    for match in _BLANK_LINES.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]
