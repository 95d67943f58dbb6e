"""How commands say something beside their results, and what they put their tables together from."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tmt.terminal import shown, visible

LOST = 0.01
"""Share of a text that a tokenizer may lose before it is said."""


class PlainConsole(Console):
    """Writes tables to stdout; what is in them is text, neither markup nor a command to the terminal."""

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich: all text that is printed comes through here, in cells and titles too."""
        return super().render_str(shown(text), **options)


def tell(message: str) -> None:
    """A line for the reader, beside the results: on stderr."""
    print(visible(message), file=sys.stderr)


def number(value: float | None, form: str) -> str:
    """A cell of a table; a dash where there is no value."""
    return "–" if value is None else format(value, form)


def scored_bytes(scored: int, of: int) -> str:
    """How many bytes of a text were scored, in words."""
    return f"{scored:,} of {of:,} ({scored / of:.1%})" if of else "none: the tokens stand for no text"


def share_scored(tokens: int, targets: int) -> str:
    """How much of a split's targets was scored, in words."""
    return f"scored {tokens:,} of {targets:,} tokens of the split ({tokens / targets:.1%})"


def tell_unspelt(shares: Mapping[str, float | None]) -> None:
    """Say which splits lose more than :data:`LOST`, by the share of their raw text that tokens can spell."""
    low = {split: share for split, share in shares.items() if share is not None and share < 1 - LOST}
    if low:
        told = ", ".join(f"{share:.1%} of {split}" for split, share in low.items())
        tell(
            f"the tokenizer rewrites text: its tokens can spell {told}, and no model of them writes the "
            "rest, such as ends of lines. Bits per byte are of the rewritten text; those of the raw text "
            "stand beside. The tokenizers bytes, bpe:N and sp:N keep all text"
        )
