"""How commands say something beside their results, and what a cell of their tables holds."""

import sys


def tell(message: str) -> None:
    """A line for the reader, beside the results: on stderr."""
    print(message, file=sys.stderr)


def number(value: float | None, form: str) -> str:
    """A cell of a table; a dash where there is no value."""
    return "–" if value is None else format(value, form)


def share_scored(tokens: int, targets: int) -> str:
    """How much of a split's targets was scored, in words."""
    return f"scored {tokens:,} of {targets:,} tokens of the split ({tokens / targets:.1%})"
