"""Token files: a header of 256 little-endian int32, then the ids, read through a memory map.

Version 1 is the public format: `[magic, 1, count, 0...]` and `count` uint16 ids. Version 2 is ours:
`[magic, 2, count, bytes per id, documents, crc32, 0...]`, the ids (uint16 or uint32), then the int64
positions at which documents start; the checksum covers everything after the header.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError

MAGIC = 20240520
HEADER_BYTES = 1024
SHARD_TOKENS = 2**26

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
_DTYPES = {2: np.dtype("<u2"), 4: np.dtype("<u4")}


@dataclass(frozen=True)
class Shard:
    """One token file.

    Attributes:
        tokens: (count,) uint16 or uint32, memory-mapped.
        document_starts: int64 positions in this shard at which a document starts; empty for version 1,
            which does not record them.
    """

    tokens: Tokens
    document_starts: npt.NDArray[np.int64]

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> Self:
        """Map a token file of either version; `verify` also checks its checksum (version 2).

        Raises:
            InputError: the file cannot be read, is no token file, or is damaged.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            header = np.fromfile(path, dtype="<i4", count=256)
        except OSError as error:
            raise InputError(f"cannot read token file {path}: {error.strerror}") from None
        if header.size < 256 or header[0] != MAGIC:
            raise InputError(f"{path} is not a token file (its first number is not {MAGIC})")
        version, count, width, documents = (int(value) for value in header[1:5])
        if version not in (1, 2):
            raise InputError(f"token file {path} has version {version}; this release reads 1 and 2")
        if version == 1:
            width, documents = 2, 0
        if width not in _DTYPES or min(count, documents) < 0:
            raise InputError(f"token file {path} has a damaged header")
        _check_size(path, size, HEADER_BYTES + width * count + 8 * documents)
        if version == 2 and verify and _checksum(path) != int(header[5].view(np.uint32)):
            raise InputError(f"token file {path} is damaged (wrong checksum); delete it to have it rebuilt")
        starts = np.fromfile(path, dtype="<i8", offset=HEADER_BYTES + width * count, count=documents)
        return cls(_map(path, _DTYPES[width], count), starts)


class ShardWriter:
    """Write one version-2 file bit by bit; it takes its name when it is closed without an error.

    Raises:
        ValueError: `dtype` is neither uint16 nor uint32.
    """

    def __init__(self, path: str | Path, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype not in _DTYPES.values():
            raise ValueError(f"tokens must be uint16 or uint32, not {np.dtype(dtype)}")
        self.count = 0
        self._starts: list[int] = []
        self._crc = 0
        self._path = Path(path)
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._file = self._temporary.open("wb")
        self._file.write(bytes(HEADER_BYTES))

    def start_document(self) -> None:
        """Record that a document starts at the next token."""
        self._starts.append(self.count)

    def append(self, tokens: npt.ArrayLike) -> None:
        """Add ids to the end."""
        ids = np.asarray(tokens, dtype=self.dtype)
        self._write(ids.tobytes())
        self.count += ids.size

    def close(self) -> None:
        """Finish the file and put it in place."""
        with self._file:
            self._write(np.array(self._starts, dtype="<i8").tobytes())
            header = np.zeros(256, dtype="<i4")
            header[:5] = (MAGIC, 2, self.count, self.dtype.itemsize, len(self._starts))
            header[5] = np.uint32(self._crc).view(np.int32)
            self._file.seek(0)
            self._file.write(header.tobytes())
        self._temporary.replace(self._path)

    def _write(self, content: bytes) -> None:
        self._crc = zlib.crc32(content, self._crc)
        self._file.write(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def write_shard(path: str | Path, tokens: Tokens, document_starts: npt.ArrayLike = ()) -> None:
    """Write `tokens` (uint16 or uint32) and the positions at which documents start, whole or not at all."""
    before, *documents = np.split(tokens, np.asarray(document_starts, dtype=np.int64))
    with ShardWriter(path, tokens.dtype) as writer:
        writer.append(before)
        for document in documents:
            writer.start_document()
            writer.append(document)


def id_dtype(vocab_size: int) -> np.dtype:
    """The narrowest of uint16 and uint32 that holds every id."""
    return _DTYPES[2 if vocab_size <= 2**16 else 4]


def _check_size(path: Path, size: int, expected: int) -> None:
    if size != expected:
        raise InputError(f"token file {path} has {size} bytes where its header promises {expected}")


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as handle:
        handle.seek(HEADER_BYTES)
        while block := handle.read(2**22):
            crc = zlib.crc32(block, crc)
    return crc


def _map(path: Path, dtype: np.dtype, count: int) -> Tokens:
    if count == 0:
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=HEADER_BYTES, shape=(count,))
