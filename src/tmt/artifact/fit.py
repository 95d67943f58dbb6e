"""Clip widths with which an artifact fits a limit."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from tmt.artifact.clip import NARROWEST, entropy, widest
from tmt.artifact.pack import Packing
from tmt.artifact.settings import PackSettings

EMBED_FACTORS = (1.0, 0.75, 1.5)
"""Widths of the embedding that are tried, as multiples of the one asked for."""
ATTEMPTS = 4
"""Packings to find the width of the matrices that goes with one of those."""
SLACK = 0.002
"""Share of the limit that may stay unused."""
SMALLER = "give fewer --bits or --embed-bits, or train a smaller model"


def predicted_bytes(elements: Mapping[str, int], settings: PackSettings) -> float:
    """Bytes of the integers of normal rows under an ideal code: what the widths change."""
    matrix = elements["matrix"] * entropy(settings.bits, settings.clip)
    return (matrix + elements["embedding"] * entropy(settings.embed_bits, settings.embed_clip)) / 8


def fit(
    pack: Callable[[PackSettings], Packing],
    loss: Callable[[Packing], float],
    settings: PackSettings,
    elements: Mapping[str, int],
    limit: int,
) -> Packing:
    """The packing of the smallest loss among those that use the limit up.

    For each width of the embedding the width of the matrices follows from the limit: a prediction, put right
    by what came out.

    Args:
        pack: makes a packing.
        loss: what it is judged by, on training text.
        settings: where to start.
        elements: see :meth:`Packer.elements`.
        limit: bytes.

    Raises:
        InputError: no width fits.
    """
    factors = EMBED_FACTORS if elements["embedding"] else EMBED_FACTORS[:1]
    start = smallest = pack(settings)
    found = [] if start.size.exceeds(limit) else [start]
    for factor in factors:
        embed_clip = min(settings.embed_clip * factor, widest(settings.embed_bits))
        fitting, tried = _use_up(pack, start, embed_clip, elements, limit)
        smallest = min(smallest, tried, key=_total)
        found += [] if fitting is None else [fitting]
    if not found:
        raise smallest.size.refusal(limit, f"no clip width fits with --bits {settings.bits}; {SMALLER}")
    return min(found, key=loss)


def bringing_under(packing: Packing, elements: Mapping[str, int], limit: int) -> str:
    """What would make a packing that is too large fit, for a message."""
    if packing.size.code >= limit:
        return "the code alone is more; --code compressed counts it as one archive"
    excess = packing.size.total - predicted_bytes(elements, packing.settings)
    width = _width(packing.settings, elements, limit - excess)
    if width is None:
        return f"no --clip alone brings it under; {SMALLER}"
    return f"--clip {width:.2f} should bring it under; --fit finds the widths that lose least"


def _use_up(
    pack: Callable[[PackSettings], Packing],
    start: Packing,
    embed_clip: float,
    elements: Mapping[str, int],
    limit: int,
) -> tuple[Packing | None, Packing]:
    """The largest packing found with that width of the embedding that fits (None: none), and the smallest."""
    fitting, smallest, packing = None, start, start
    for _ in range(ATTEMPTS):
        excess = packing.size.total - predicted_bytes(elements, packing.settings)
        wanted = replace(packing.settings, embed_clip=embed_clip)
        width = _width(wanted, elements, limit * (1 - SLACK / 2) - excess)
        if width is None:
            width = widest(wanted.bits)
        packing = pack(replace(wanted, clip=width))
        smallest = min(smallest, packing, key=_total)
        if not packing.size.exceeds(limit):
            if fitting is None or packing.size.total > fitting.size.total:
                fitting = packing
            if packing.size.total >= limit * (1 - SLACK) or width == NARROWEST:
                break
        elif width == widest(wanted.bits):
            break
    return fitting, smallest


def _total(packing: Packing) -> int:
    return packing.size.total


def _width(settings: PackSettings, elements: Mapping[str, int], goal: float) -> float | None:
    """The narrowest width of the matrices with at most `goal` predicted bytes; None where none has."""
    low, high = NARROWEST, widest(settings.bits)
    if predicted_bytes(elements, replace(settings, clip=low)) <= goal:
        return low
    if predicted_bytes(elements, replace(settings, clip=high)) > goal:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        if predicted_bytes(elements, replace(settings, clip=middle)) <= goal:
            high = middle
        else:
            low = middle
    return high
