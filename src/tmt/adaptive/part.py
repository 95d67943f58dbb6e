"""What a part of an adaptive score may read, and when: the shape that keeps a stream's score legal.

A pass walks a stream once. Every *block* of consecutive positions goes through three moments:

1. `blend`: each part in turn makes its own distributions of those before it. The row of a position may
   depend on the tokens up to that position only, and not on how positions fall into blocks, which follows
   from the batch and from the number of processes.
2. The targets are revealed and the losses booked.
3. `book`: the parts hear the targets.

After every *chunk* of blocks comes `learn`: all its targets are booked, and whatever is learnt from them
serves the next chunk. Only `book` and `learn` may change what a part knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tmt.training.distributed import Ranks


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive positions of a stream, each about to be scored by what follows it."""

    start: int
    """Position of the first."""
    ids: npt.NDArray[np.int64]
    """(n,) the tokens at these positions."""
    states: Tensor
    """(n, D) what the model's head reads at each."""
    own: slice
    """The positions whose distributions this rank makes: all of them where it is alone."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A stretch of a stream all of whose targets have been booked."""

    start: int
    """Position of the first input."""
    ids: npt.NDArray[np.int64]
    """(n + 1,) tokens: inputs are all but the last, targets all but the first."""
    share: float
    """How far into the stream it is: 0 for the first chunk, 1 for the last."""
    last: bool
    """Nothing comes after it that could gain from learning."""


class Part:
    """One adaptation of a score; by default it does nothing."""

    name: ClassVar[str]
    reads: ClassVar[str]
    """What it reads of the stream, in words for the report."""

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        """Logarithms (m, V) float32 of distributions over what follows the block's own positions, changed."""
        return log_probs

    def book(self, block: Block, targets: Tensor) -> None:
        """Hear the targets (n,) int64 of the whole block, the one that was blended last."""
        return

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        """Learn from a chunk; every rank hears of the whole chunk and must come to know the same."""
        return

    def state(self) -> dict[str, Any]:
        """What it has learnt up to the end of a chunk, but for what :meth:`reread` brings back."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Know again what it knew when it returned that state."""
        return

    def reread(self, ids: npt.NDArray[np.int64]) -> None:
        """After a restore: hear, in order and in pieces, all tokens that earlier blocks had as ids."""
        return

    def figures(self) -> dict[str, Any]:
        """What the report says of it, as JSON can hold it."""
        return {}
