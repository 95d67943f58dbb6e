"""Byte shuffle and compression; brotli where it is installed, else LZMA."""

import lzma
from types import ModuleType
from typing import Literal

from tmt.errors import InputError

Codec = Literal["brotli", "lzma"]

MAGIC = b"tmts"
"""Starts shuffled bytes; the stride, one byte, comes next."""
STRIDE = 2
WINDOW = 18
"""Logarithm of brotli's window: weights do not repeat, and a small window is twice as fast to search."""


def shuffle(data: bytes) -> bytes:
    """First the bytes at even indices, then those at odd ones: the two halves of 16-bit numbers apart."""
    return b"".join([MAGIC, bytes([STRIDE]), *(data[start::STRIDE] for start in range(STRIDE))])


def unshuffle(data: bytes) -> bytes:
    """Undo :func:`shuffle`; ValueError where `data` does not come from it."""
    stride = data[len(MAGIC)] if len(data) > len(MAGIC) else 0
    if data[: len(MAGIC)] != MAGIC or not stride:
        raise ValueError("not byte-shuffled")
    done = len(MAGIC) + 1
    whole = bytearray(len(data) - done)
    for start in range(stride):
        count = len(range(start, len(whole), stride))
        whole[start::stride] = data[done : done + count]
        done += count
    return bytes(whole)


def best_codec() -> Codec:
    """What :func:`compress` should use on this machine."""
    return "lzma" if _brotli() is None else "brotli"


def compress(data: bytes, codec: Codec) -> bytes:
    """The same bytes for the same data, always: brotli at quality 11, or LZMA at its strongest."""
    if codec == "lzma":
        return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    return _required_brotli().compress(data, quality=11, lgwin=WINDOW)


def decompress(data: bytes, codec: str) -> bytes:
    """Undo :func:`compress`.

    Raises:
        ValueError: the data are damaged, or the codec is unknown.
        InputError: brotli is needed and not installed.
    """
    if codec == "lzma":
        try:
            return lzma.decompress(data)
        except lzma.LZMAError as error:
            raise ValueError(str(error)) from error
    if codec != "brotli":
        raise ValueError(f"unknown compression {codec!r}")
    brotli = _required_brotli()
    try:
        return brotli.decompress(data)
    except brotli.error as error:
        raise ValueError(str(error)) from error


def _brotli() -> ModuleType | None:
    try:
        import brotli
    except ImportError:
        return None
    return brotli


def _required_brotli() -> ModuleType:
    brotli = _brotli()
    if brotli is None:
        raise InputError('this artifact needs brotli: pip install "temporalmesh-transformer[golf]"')
    return brotli
