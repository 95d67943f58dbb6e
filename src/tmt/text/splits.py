"""Which split a document of a held corpus belongs to: decided by its text, never by its place in a file."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import groupby
from typing import Literal

RULES_VERSION = 2
"""Part of every key: raise it when the same files would give other documents or splits."""

HELD_OUT = 0.05
"""Share of the bytes that `valid` and `test` each take."""

NEAR = 0.01
"""How far from it a share may be."""


def in_first_half(document: str) -> bool:
    """Whether a document falls in the first of two halves, by the hash of its text."""
    return position(document) < 0.5


def bounded(documents: Iterable[str], max_bytes: int) -> Iterator[str]:
    """The first `max_bytes` UTF-8 bytes of `documents`; the last one is cut at a whole character."""
    left = max_bytes
    for document in documents:
        encoded = document.encode()
        if len(encoded) >= left:
            part = encoded[:left].decode(errors="ignore")
            if part.strip():
                yield part
            return
        left -= len(encoded)
        yield document


def cut_at_byte_shares(
    documents: list[str], beyond: float | None = None
) -> list[Literal["train", "valid", "test"]]:
    """The split of each document, so that `valid` and `test` hold close to 5 % of the bytes each.

    Documents are visited in the order of their hashes; equal documents stay together. One is held out if
    not more than half of it is beyond the 5 %, or with `beyond` if not more than that share of all bytes
    is. Returns one split per document, or an empty list where fewer than three different documents exist.
    """
    digests = [_digest(document) for document in documents]
    order = sorted(range(len(documents)), key=digests.__getitem__)
    groups = [list(group) for _, group in groupby(order, key=digests.__getitem__)]
    if len(groups) < 3:
        return []
    sizes = [sum(len(documents[i].encode()) for i in group) for group in groups]
    target = HELD_OUT * sum(sizes)
    room = None if beyond is None else beyond * sum(sizes)
    splits: list[Literal["train", "valid", "test"]] = ["train"] * len(documents)
    free = list(range(len(groups)))
    for name in ("valid", "test"):
        for g in _fill([sizes[g] for g in free], target, len(groups) // 3, room):
            for i in groups[free[g]]:
                splits[i] = name
        free = [g for g in free if splits[groups[g][0]] == "train"]
    return splits


def shares_near(documents: list[str], splits: list[Literal["train", "valid", "test"]], off: float) -> bool:
    """Whether `valid` and `test` each hold 5 % of the bytes, give or take `off`."""
    held = dict.fromkeys(("train", "valid", "test"), 0)
    for document, split in zip(documents, splits, strict=False):
        held[split] += len(document.encode())
    total = sum(held.values())
    return bool(total) and all(abs(held[name] / total - HELD_OUT) <= off for name in ("valid", "test"))


def _fill(sizes: list[int], target: float, at_most: int, room: float | None) -> list[int]:
    """Up to `at_most` indices, in order, whose sizes add up to about `target`; or the smallest alone."""
    chosen, total = [], 0
    for index, size in enumerate(sizes):
        if total + (size / 2 if room is None else size - room) <= target:
            chosen.append(index)
            total += size
    return chosen[:at_most] or [min(range(len(sizes)), key=sizes.__getitem__)]


def position(document: str) -> float:
    """A number in [0, 1) drawn from the document's text."""
    return int.from_bytes(_digest(document)[:8], "big") / 2**64


def _digest(document: str) -> bytes:
    return sha256(document.encode()).digest()
