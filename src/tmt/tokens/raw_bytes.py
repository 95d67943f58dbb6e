"""Which bytes of a raw text the tokens of its rewritten form stand for, and which of them they spell."""

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError

LARGEST = 2**16 - 1
"""Most bytes of one token: counts are kept as uint16."""

Positions = npt.NDArray[np.int64]


def raw_byte_counts(ends: Positions, origins: Positions, total: int) -> Positions:
    """Share out the bytes of a raw text among a separator and the tokens of the rewritten text.

    Args:
        ends: (n,) where each token ends in the rewritten text.
        origins: (m + 1,) where in the raw text each byte of the rewritten one comes from, rising, and its
            end. Bytes that were rewritten together come from the same place.
        total: bytes of the raw text.

    Returns:
        (1 + n,) bytes of the separator and of each token; they add up to `total`. The separator has none
        unless there is no other place for them. What was dropped belongs to the token before it, or to
        the first. A token beyond :data:`LARGEST` leaves the rest to those behind it, else to those before.

    Raises:
        InputError: the tokens are not of this text, or too few for the bound.
    """
    if (ends[-1] if len(ends) else 0) != len(origins) - 1:
        raise InputError("a text does not match its tokens, so their bytes cannot be counted")
    before = [0, 0] if len(ends) else [0]
    bounds = np.concatenate([before, _raw_positions(ends[:-1], origins), [total]])
    return np.diff(_in_reach(bounds))


def kept_bytes(raw: bytes, spelt: bytes, origins: Positions) -> int:
    """How many bytes of a raw text stand, as whole characters and in their place, in its rewritten form.

    Args:
        raw: the text.
        spelt: what was made of it.
        origins: (len(spelt),) where in `raw` each byte comes from, rising. Of those that come from the same
            place, what equals the text from there on is kept, up to the first that differs.
    """
    first, behind = (np.searchsorted(origins, origins, side) for side in ("left", "right"))
    places = origins + np.arange(len(origins)) - first
    before, after = (np.frombuffer(text, dtype=np.uint8) for text in (raw, spelt))
    same = places < np.append(origins, len(raw))[behind]
    same[same] = before[places[same]] == after[same]
    wrong = np.append(0, np.cumsum(~same))
    kept = np.zeros(len(raw), dtype=bool)
    kept[places[wrong[1:] == wrong[first]]] = True
    starts = np.flatnonzero(before & 0xC0 != 0x80)
    whole = np.logical_and.reduceat(kept, starts) if len(starts) else kept
    return int(np.diff(np.append(starts, len(raw)))[whole].sum())


def _raw_positions(ends: Positions, origins: Positions) -> Positions:
    """Positions in the raw text; inside of bytes rewritten together one byte each, as far as they go."""
    here = origins[ends]
    first, following = (np.searchsorted(origins, here, side) for side in ("left", "right"))
    return np.minimum(here + ends - first, origins[np.minimum(following, len(origins) - 1)])


def _in_reach(bounds: Positions) -> Positions:
    """Move the bounds between tokens so that no token has more than :data:`LARGEST` bytes."""
    total, reach = bounds[-1], LARGEST * np.arange(len(bounds))
    bounds = np.minimum.accumulate(bounds - reach) + reach
    bounds = np.maximum(bounds, total - reach[::-1])
    if bounds[0] > 0:
        raise InputError(
            f"a document of {total:,} bytes has only {len(bounds) - 2} tokens, of at most {LARGEST:,} bytes "
            "each; shorten its white space"
        )
    return bounds
