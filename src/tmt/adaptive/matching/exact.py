"""Matches in the windows of a sliding score, in C."""

import ctypes
from pathlib import Path

import numpy as np

from tmt.adaptive.matching.compiled import Compiled
from tmt.adaptive.matching.rule import Rule


class _Text(ctypes.Structure):
    """`text` of exact.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("places", "last", "proposals")),
        *((name, ctypes.c_int64) for name in ("mask", "length", "first")),
    ]


class Exact(Compiled):
    """What :class:`tmt.adaptive.matching.reference.Exact` finds."""

    source = Path(__file__).with_name("exact.c")
    structure = _Text

    def __init__(self, rule: Rule):
        super().__init__(rule)
        self._places = np.empty((1, 3), np.int32)
        self._last = np.full(rule.vocab_size, -(2**31), np.int64)
        self._proposals = np.empty(rule.occurrences, np.int32)
        self._state.last, self._state.proposals = self._last.ctypes.data, self._proposals.ctypes.data

    def _make_room(self, count: int) -> None:
        """A ring of a power of two: the places of the positions that are kept and of those to come."""
        state, old = self._state, self._places
        need = state.length - state.first + count
        size = max(len(old), 1 << (need - 1).bit_length())
        if size > len(old):
            kept = np.arange(state.first, state.length)
            grown = np.empty((size, 3), np.int32)
            grown[kept % size] = old[kept % len(old)]
            self._places = grown
        state.places, state.mask = self._places.ctypes.data, size - 1
