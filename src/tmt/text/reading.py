"""How text is read: what the user may say about it."""

from dataclasses import dataclass
from typing import Literal, get_args

from tmt.errors import InputError, unknown

OnBadRow = Literal["stop", "skip", "replace"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How documents are found in a source.

    Raises:
        InputError: a value is out of range.
    """

    text_field: str = "text"
    """The field or column that holds the text of a row."""
    max_bytes: int | None = None
    """Take at most so many UTF-8 bytes, in the order of the source; the document that crosses the bound is
    cut there. None: all of a local source, 1 GiB of a hub data set."""
    separator: str | None = None
    """What parts documents wherever it stands, in files of text and in rows. None: in files of text a line
    `<|endoftext|>`, and form feeds."""
    on_bad_row: OnBadRow = "stop"
    """What happens at a row without text or with bytes that are not UTF-8: the reading stops; the row is
    left out; or what is not UTF-8 becomes U+FFFD, and rows without text are left out."""
    follow_links: bool = False
    """Also read what links in a folder point to outside of it."""

    def __post_init__(self):
        """Validate every field."""
        if self.max_bytes is not None and self.max_bytes < 1:
            raise InputError(f"max_bytes must be at least 1, got {self.max_bytes}")
        if self.separator == "":
            raise InputError("separator must not be empty; leave it out for lines of <|endoftext|>")
        if self.on_bad_row not in get_args(OnBadRow):
            raise unknown("on_bad_row", self.on_bad_row, get_args(OnBadRow))
