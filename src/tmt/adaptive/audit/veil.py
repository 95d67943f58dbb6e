"""A pass in which no part can know a token before its time: blocks of one position, and a veiled stream."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tmt.adaptive.part import Block, Chunk, Part
from tmt.adaptive.scoring import AdaptivePass
from tmt.evaluate.windows import Tokens
from tmt.training.distributed import Ranks


class Veil:
    """A stream of which a part reads others than the true tokens where they are not booked yet.

    The pass itself reads all of it.

    Attributes:
        ahead: in words, what was read too early to learn from it.
    """

    def __init__(self, stream: npt.NDArray[np.int64], others: npt.NDArray[np.int64]):
        self.ahead: list[str] = []
        self._stream, self._others = stream, others
        self._known, self._learning = 0, False

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, span: slice) -> npt.NDArray[np.int64]:
        late = np.arange(len(self))[span] >= self._known
        if late.any() and self._learning:
            last = np.arange(len(self))[span][late][-1]
            self.ahead.append(
                f"learning reads the token of position {last} when {self._known - 1} targets are booked"
            )
        return np.where(late, self._others[span], self._stream[span])

    def drop(self, known: int, learning: bool) -> None:
        """From here on a part reads: so many tokens are known."""
        self._known, self._learning = known, learning

    def lift(self) -> None:
        """From here on the pass itself reads."""
        self._known, self._learning = len(self), False


def veiled_losses(make: Callable[[Tokens], AdaptivePass], veil: Veil) -> Tensor:
    """Losses (N, S) float64 after the model and each part, scored in blocks of one position."""
    scoring = make(veil)
    scoring.rows = 1
    nats = torch.full((scoring.targets, 1 + len(scoring.parts)), torch.nan).double()
    scoring.parts = [_Hem(veil, first=True), *scoring.parts, _Hem(veil, first=False)]
    veil.lift()
    for chunk in scoring.run():
        nats[chunk.start : chunk.start + len(chunk.nats)] = torch.from_numpy(chunk.nats[:, 1:-1])
    return nats


class _Hem(Part):
    """Drops the veil before the first part, or lifts it behind the last."""

    name = "veil"
    reads = "nothing"

    def __init__(self, veil: Veil, first: bool):
        self._veil, self._first = veil, first

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self._turn(block.start + len(block.ids), learning=False)
        return log_probs

    def book(self, block: Block, targets: Tensor) -> None:
        self._turn(block.start + len(block.ids) + 1, learning=True)

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self._turn(chunk.start + len(chunk.ids), learning=True)

    def _turn(self, known: int, learning: bool) -> None:
        if self._first:
            self._veil.drop(known, learning)
        else:
            self._veil.lift()
