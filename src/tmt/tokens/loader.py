"""Batches of shifted sequences from a token stream: shuffled, rank-aware, exactly resumable."""

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.tokens.stream import TokenStream


class Loader(ABC):
    """An endless iterator over `(inputs, targets)`, int64 tensors of shape (batch_size, seq_len).

    Targets are the inputs shifted by one. Each epoch draws where the sequences start, and their order; a
    batch that an epoch cannot fill is filled from the next one.

    Args:
        stream: the tokens.
        batch_size: sequences per batch on this rank.
        seq_len: tokens per sequence.
        seed: order of everything; the same on all ranks.
        rank: this process, in [0, world_size).
        world_size: number of processes.

    Raises:
        InputError: an argument is out of range, or the stream is too short for one sequence per rank.
    """

    def __init__(
        self,
        stream: TokenStream,
        *,
        batch_size: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("seq_len", seq_len), ("world_size", world_size)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if not 0 <= rank < world_size:
            raise InputError(f"rank must be in [0, {world_size}) (world_size {world_size}), got {rank}")
        if seed < 0:
            raise InputError(f"seed must not be negative, got {seed}")
        self._stream = stream
        self._batch_size = batch_size
        self._seq_len = seq_len
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._drawn = 0
        self._check_length()
        self._begin(epoch=0)

    @property
    def epoch(self) -> int:
        """Number of epochs begun before the current one."""
        return self._epoch

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        """The next `(inputs, targets)`, int64 of shape (batch_size, seq_len); never ends."""
        rows = np.stack([self._next_row() for _ in range(self._batch_size)])
        tokens = torch.from_numpy(rows)
        return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, and what it was made with; plain numbers, the same on all ranks."""
        return {"sequences": self._drawn, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken.

        Raises:
            InputError: the state comes from another stream, seed, sequence length or world size.
        """
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise InputError(
                    f"cannot resume the data: {name} was {state.get(name)}, now {own}; "
                    "resume with the settings of the first run"
                )
        self._begin(epoch=0)
        self._position = self._drawn = state["sequences"]
        while self._position > len(self._order):
            beyond = self._position - len(self._order)
            self._begin(self._epoch + 1)
            self._position = beyond

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self._seed,
            "seq_len": self._seq_len,
            "world_size": self._world_size,
            "tokens": len(self._stream),
        }

    @abstractmethod
    def _check_length(self) -> None:
        """InputError where some rank has no sequence."""

    @abstractmethod
    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        """Positions in the stream at which this rank's sequences of an epoch start, in their order."""

    def _begin(self, epoch: int) -> None:
        self._epoch = epoch
        self._position = 0
        self._order = self._starts(epoch)

    def _next_row(self) -> npt.NDArray[np.int64]:
        if self._position == len(self._order):
            self._begin(self._epoch + 1)
        start = int(self._order[self._position])
        self._position += 1
        self._drawn += 1
        return self._stream[start : start + self._seq_len + 1]


class TokenLoader(Loader):
    """Takes the stream for one row of tokens, whatever files it lies in; see :class:`Loader`.

    An epoch draws an offset in [0, seq_len) and cuts the stream from there into sequences side by side,
    all of them once and in a random order. Rank r takes every `world_size`-th sequence of that order from
    the r-th on; the few (fewer than `world_size`) that do not go round evenly, and the tokens before the
    offset, sit the epoch out.
    """

    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        generator = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        spare = len(self._stream) - 1 - self._world_size * self._seq_len
        offset = int(generator.integers(min(self._seq_len, spare + 1)))
        sequences = (len(self._stream) - 1 - offset) // self._seq_len
        even = sequences - sequences % self._world_size
        mine = generator.permutation(sequences)[:even][self._rank :: self._world_size]
        return offset + self._seq_len * mine

    def _check_length(self) -> None:
        needed = self._world_size * self._seq_len + 1
        if len(self._stream) < needed:
            ranks = f" on {self._world_size} ranks" if self._world_size > 1 else ""
            raise InputError(
                f"the corpus has {len(self._stream)} tokens, but seq_len {self._seq_len}{ranks} needs at "
                f"least {needed}; give more text or a shorter seq_len"
            )
