"""WikiText keeps one line per row; an article starts at a level-1 heading ` = Title = `."""

import re
from collections.abc import Iterable, Iterator

_TITLE = re.compile(r"\s*= (?!= ).*\S(?<! =) =\s*")


def articles(rows: Iterable[str]) -> Iterator[str]:
    """Join rows (lines with or without their end) into whole articles, each from its title on.

    A title is a line with one `=` on either side that follows an empty line or opens the text.
    """
    held: list[str] = []
    after_blank = True
    for row in rows:
        if after_blank and _TITLE.fullmatch(row) and any(map(str.strip, held)):
            yield "".join(held)
            held = []
        held.append(row if row.endswith("\n") else row + "\n")
        after_blank = not row.strip()
    if any(map(str.strip, held)):
        yield "".join(held)
