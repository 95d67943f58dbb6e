"""What the matchers in C share: the rule, the results, and a stream in pieces."""

import ctypes
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from tmt.adaptive.matching.rule import Matches, Rule
from tmt.ops import native

_PIECE = 2**13  # tokens between two looks at the room there is
_NUMBERS = (
    *("document_start", "window", "stride", "min_match", "max_match"),
    *("occurrences", "longest_document"),
)


class Compiled(ABC):
    """A matcher in C; its memory is numpy's."""

    source: ClassVar[Path]
    """A C file with ``advance``."""
    structure: ClassVar[type[ctypes.Structure]]
    """What that works on, from one call to the next."""

    def __init__(self, rule: Rule):
        self._rule, self._state, self._library = rule, self.structure(), native.library(self.source)
        self._numbers = _Rule(*(getattr(rule, name) for name in _NUMBERS))

    @classmethod
    def available(cls) -> bool:
        """Whether the C code can be built on this machine."""
        return native.load(cls.source) is not None

    def advance(self, ids: npt.NDArray[np.int64]) -> Matches:
        """See :meth:`tmt.adaptive.matching.Matcher.advance`."""
        tokens = self._rule.tokens(ids)
        found = Matches.none(len(tokens))
        for start in range(0, len(tokens), _PIECE):
            count = min(_PIECE, len(tokens) - start)
            self._make_room(count)
            results = (x[start:].ctypes.data for x in (found.hint, found.length, found.votes, found.cross))
            self._library.advance(
                *(ctypes.byref(self._state), ctypes.byref(self._numbers)),
                *(ctypes.c_void_p(tokens[start:].ctypes.data), ctypes.c_int64(count)),
                ctypes.byref(_Matches(*results)),
            )
        return found

    @abstractmethod
    def _make_room(self, count: int) -> None:
        """Let the state's memory hold `count` more tokens."""


class _Rule(ctypes.Structure):
    """`rule` of matching.h."""

    _fields_ = [(name, ctypes.c_int64) for name in _NUMBERS]


class _Matches(ctypes.Structure):
    """`matches` of matching.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("hint", "length", "votes", "cross")]
