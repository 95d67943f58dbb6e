"""Text that ends before a string, however tokens cut it."""

from collections.abc import Sequence


class StopStrings:
    """Lets text through up to the first of some strings to be complete, and holds back what may be one.

    Attributes:
        found: whether one of them has come: nothing is let through any more.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops`: an empty one ends no text."""
        self.found = False
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def push(self, piece: str) -> str:
        """The characters that are certain with a further piece of text."""
        if self.found:
            return ""
        text = self._held + piece
        ends = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """End the text: what was held back was no beginning."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text that a stop string begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
