"""What is left of an error in a row."""

import traceback


def last_line(error: BaseException) -> str:
    """The last line of its traceback."""
    return traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
