"""Why something outside this library failed, in one line."""


def reason(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its kind where it has none."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().split("\n")[0] or type(error).__name__
