"""The names of tokenizers that are trained: `bpe:4096`, `sp:8192`, `sp:8192:nfkc`."""

import re
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

from tmt.errors import InputError

Kind = Literal["bpe", "sp", "sp nfkc"]

SMALLEST = {"bpe": 257, "sp": 261, "sp nfkc": 261}
LARGEST = 2**20
"""Bounds on the vocabulary of a trained tokenizer."""

_NAME = re.compile(r"(bpe|sp)[:-](\d+)|sp[:-](\d+)[:-]nfkc")


@dataclass(frozen=True)
class Wanted:
    """A tokenizer to be trained.

    Attributes:
        kind: byte-level BPE, SentencePiece that keeps all text, or SentencePiece that rewrites it by NFKC.
        size: ids, at most.
    """

    kind: Kind
    size: int

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """What `name` asks for; None where it is no such name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(cast(Kind, match[1] or "sp nfkc"), int(match[2] or match[3]))

    def __str__(self) -> str:
        kind, *form = self.kind.split()
        return ":".join([kind, str(self.size), *form])

    def of_size(self, size: int) -> Self:
        """The same of another size."""
        return replace(self, size=size)

    def check(self) -> None:
        """InputError where no tokenizer of this kind has such a size."""
        smallest = SMALLEST[self.kind]
        if not smallest <= self.size <= LARGEST:
            raise InputError(
                f"tokenizer {self}: the size must be in [{smallest}, {LARGEST}]; "
                "256 bytes and the special tokens come first"
            )
