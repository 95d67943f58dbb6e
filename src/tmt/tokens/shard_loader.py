"""Batches from public token files: every rank reads files of its own."""

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.tokens.loader import Loader, TokenLoader
from tmt.tokens.stream import PublicStream, TokenStream


class ShardLoader(Loader):
    """Rank r reads the files r, r + `world_size`, …; no sequence runs across two files; see :class:`Loader`.

    An epoch draws a phase for each file and cuts the file from there into sequences side by side. Drawing
    a file with a probability proportional to the sequences it has left, and one of those, again and
    again, is a random order of all sequences; that order is drawn at once. Files too short for a sequence
    are passed over.

    Raises:
        InputError: an argument is out of range, or some rank has no file that is long enough.
    """

    def _starts(self, epoch: int) -> npt.NDArray[np.int64]:
        generator = np.random.Generator(np.random.PCG64([self._seed, self._rank, epoch]))
        length = self._seq_len
        starts = []
        for first, size in self._files(self._rank):
            phase = int(generator.integers(min(length, size - length)))
            starts.append(first + np.arange(phase, size - length, length))
        return generator.permutation(np.concatenate(starts))

    def _files(self, rank: int) -> list[tuple[int, int]]:
        """First position and size of the files of a rank that hold a sequence."""
        sizes = [len(shard.tokens) for shard in self._stream.shards]
        files = list(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True))
        return [(first, size) for first, size in files[rank :: self._world_size] if size > self._seq_len]

    def _identity(self) -> dict[str, int]:
        return {**super()._identity(), "files": len(self._stream.shards)}

    def _check_length(self) -> None:
        for rank in range(self._world_size):
            if not self._files(rank):
                raise InputError(
                    f"process {rank} of {self._world_size} has no token file of more than seq_len="
                    f"{self._seq_len} tokens; {len(self._stream.shards)} files are shared out in turn: take "
                    "fewer processes, more files or a shorter seq_len"
                )


def training_loader(
    stream: TokenStream, *, batch_size: int, seq_len: int, seed: int, rank: int = 0, world_size: int = 1
) -> Loader:
    """The loader that suits a stream: by file for public shards, else over all of it; see :class:`Loader`."""
    kind = ShardLoader if isinstance(stream, PublicStream) else TokenLoader
    return kind(stream, batch_size=batch_size, seq_len=seq_len, seed=seed, rank=rank, world_size=world_size)
