"""Matches in the whole of a document, in C, by its suffix automaton."""

import ctypes
from pathlib import Path

import numpy as np

from tmt.adaptive.matching.compiled import Compiled
from tmt.adaptive.matching.rule import Rule


class _Automaton(ctypes.Structure):
    """`automaton` of automaton.c."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("places", "states", "edges", "buckets")),
        *((name, ctypes.c_int64) for name in ("bits", "length", "n_states", "n_edges", "latest")),
    ]


class Document(Compiled):
    """What :class:`tmt.adaptive.matching.reference.Document` finds."""

    source = Path(__file__).with_name("automaton.c")
    structure = _Automaton

    def __init__(self, rule: Rule):
        super().__init__(rule)
        self._places, self._states, self._edges = (np.empty((0, width), np.int32) for width in (3, 4, 5))

    def _make_room(self, count: int) -> None:
        """Of n tokens an automaton makes 2n states and 3n edges at most."""
        state = self._state
        need = min(state.length + count, self._rule.longest_document)
        if need <= len(self._places):
            return
        bits = (need - 1).bit_length()
        buckets = np.full(4 << bits, -1, np.int32)
        sizes = zip((1, 2, 3), (self._places, self._states, self._edges), strict=True)
        grown = [_grown(old, times << bits) for times, old in sizes]
        self._places, self._states, self._edges = grown
        self._buckets = buckets
        state.places, state.states, state.edges = (array.ctypes.data for array in grown)
        state.buckets, state.bits = buckets.ctypes.data, bits + 2
        self._library.rehash(ctypes.byref(state))


def _grown(old: np.ndarray, length: int) -> np.ndarray:
    new = np.empty((length, old.shape[1]), old.dtype)
    new[: len(old)] = old
    return new
