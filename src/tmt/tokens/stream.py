"""Several shards read as one long row of tokens."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.tokens.shards import Shard


class TokenStream:
    """The tokens of `shards`, one after the other.

    Args:
        shards: the files, in order.
        raw_bytes: how many UTF-8 bytes of the raw text each token stands for, a row of numbers like the
            tokens; None where the tokenizer tells it.

    Raises:
        InputError: `raw_bytes` has another length than the tokens.
    """

    def __init__(self, shards: Sequence[Shard], raw_bytes: "TokenStream | None" = None) -> None:
        self.shards = tuple(shards)
        self.raw_bytes = raw_bytes
        self._ends = np.cumsum([0, *(len(shard.tokens) for shard in self.shards)])
        if raw_bytes is not None and len(raw_bytes) != len(self):
            raise InputError(f"there are byte counts of {len(raw_bytes)} tokens for {len(self)} tokens")

    @classmethod
    def open(cls, *paths: str | Path, verify: bool = True) -> Self:
        """Open token files as one stream.

        Raises:
            InputError: one of them cannot be read or is damaged.
        """
        return cls([Shard.open(path, verify) for path in paths])

    @cached_property
    def document_starts(self) -> npt.NDArray[np.int64]:
        """Positions at which documents start."""
        firsts = zip(self.shards, self._ends[:-1], strict=True)
        starts = [self._starts(shard) + first for shard, first in firsts]
        return np.concatenate([np.empty(0, dtype=np.int64), *starts])

    def _starts(self, shard: Shard) -> npt.NDArray[np.int64]:
        """Positions in the shard."""
        return shard.document_starts

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, span: slice) -> npt.NDArray[np.int64]:
        """Tokens of a contiguous span as int64 (a copy), across shard ends."""
        start, stop, step = span.indices(len(self))
        if step != 1:
            raise ValueError("a token stream is sliced with step 1 only")
        parts: list[npt.NDArray[np.integer]] = [np.empty(0, dtype=np.int64)]
        shard = int(np.searchsorted(self._ends, start, side="right")) - 1
        while start < stop:
            first, end = self._ends[shard], min(int(self._ends[shard + 1]), stop)
            parts.append(self.shards[shard].tokens[start - first : end - first])
            start, shard = max(start, end), shard + 1
        return np.concatenate(parts, dtype=np.int64)


class PublicStream(TokenStream):
    """The tokens of public files, in which documents start at a `separator` and run on across files."""

    def __init__(self, shards: Sequence[Shard], separator: int, raw_bytes: TokenStream | None = None) -> None:
        super().__init__(shards, raw_bytes)
        self._separator = separator

    def _starts(self, shard: Shard) -> npt.NDArray[np.int64]:
        return np.flatnonzero(shard.tokens == self._separator)
