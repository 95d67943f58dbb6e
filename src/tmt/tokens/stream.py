"""Several shards read as one long row of tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tmt.tokens.shards import Shard


class TokenStream:
    """The tokens of `shards`, one after the other.

    Attributes:
        shards: the files, in order.
        document_starts: int64 positions in the stream at which documents start.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = tuple(shards)
        self._ends = np.cumsum([0, *(len(shard.tokens) for shard in self.shards)])
        starts = [s.document_starts + first for s, first in zip(self.shards, self._ends[:-1], strict=True)]
        self.document_starts = np.concatenate([np.empty(0, dtype=np.int64), *starts])

    @classmethod
    def open(cls, *paths: str | Path, verify: bool = True) -> Self:
        """Open token files as one stream.

        Raises:
            InputError: one of them cannot be read or is damaged.
        """
        return cls([Shard.open(path, verify) for path in paths])

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
