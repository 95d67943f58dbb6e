"""What a match is, and the numbers that decide which one is taken."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError

_LARGEST = 2**30  # C code counts distances in 32 bits


@dataclass(frozen=True, eq=False)
class Matches:
    """The chosen match at each of n consecutive positions; entry i knows the stream up to position i."""

    hint: npt.NDArray[np.int64]
    """(n,) the token that followed the match; -1 where nothing matched."""
    length: npt.NDArray[np.int32]
    """(n,) tokens that matched; 0 where nothing did."""
    votes: npt.NDArray[np.int32]
    """(n,) places that propose this hint, the chosen one among them; 0 where nothing matched."""
    cross: npt.NDArray[np.bool_]
    """(n,) whether the match lies before what the model sees."""

    @classmethod
    def none(cls, count: int) -> "Matches":
        """No match at `count` positions."""
        numbers = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count, np.bool_)
        return cls(np.full(count, -1, np.int64), *numbers)


class Matcher(Protocol):
    """Reads a stream once and finds, at each position, the match of the text as it ends there."""

    def advance(self, ids: npt.NDArray[np.int64]) -> Matches:
        """The matches at the positions of these ids (n,), which come next in the stream.

        Pieces of any size give the same entries.

        Raises:
            InputError: not a row of integers in the vocabulary; the matcher is as before.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Rule:
    """See :func:`tmt.adaptive.matching.make_matcher`; the last two bound work and memory."""

    vocab_size: int
    document_start: int
    window: int
    stride: int
    min_match: int = 1
    max_match: int = 100
    occurrences: int = 512
    """Candidates that are looked at for one position, in exact mode."""
    longest_document: int = 2**20
    """Tokens after which a document is taken to end."""

    def __post_init__(self):
        if not 0 < self.vocab_size <= _LARGEST:
            raise InputError(f"vocab_size is {self.vocab_size}; give 1 to 2**30")
        if not -1 <= self.document_start < self.vocab_size:
            raise InputError(
                f"document_start {self.document_start} is no token; "
                f"give 0 to {self.vocab_size - 1}, or -1 where documents have no first token"
            )
        if not 0 < self.window <= _LARGEST:
            raise InputError(f"window is {self.window}; give 1 to 2**30")
        if not 0 < self.stride <= self.window:
            raise InputError(f"stride is {self.stride}; give 1 to the window, {self.window}")
        if not 0 < self.min_match <= self.max_match <= _LARGEST:
            raise InputError(
                f"matches of {self.min_match} to {self.max_match} tokens; "
                "give 1 <= min_match <= max_match <= 2**30"
            )

    def tokens(self, ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The ids (n,) as int64, contiguous; :meth:`Matcher.advance` says what is refused."""
        given = np.asarray(ids)
        if given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
            raise InputError(f"ids are {given.dtype} of shape {given.shape}; give integers of shape (n,)")
        strange = given[(given < 0) | (given >= self.vocab_size)]
        if len(strange):
            raise InputError(f"token {strange[0]} is outside the vocabulary, 0 to {self.vocab_size - 1}")
        return np.ascontiguousarray(given, np.int64)
