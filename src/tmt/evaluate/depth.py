"""Which kinds of tokens run how many layers."""

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt.evaluate.measures import Score
from tmt.evaluate.windows import Tokens
from tmt.tokens import Tokenizer

CLASSES = ("separator", "punctuation", "function words", "frequent", "other", "rare")
"""A separator stands for no text. Punctuation has no letter or digit (white space included). Function
words are English. Of the rest, the frequent tokens make up the first half of all occurrences in the
train split and the rare ones the last twentieth; parts of characters belong to these three too."""

FREQUENT_SHARE = 0.5
RARE_SHARE = 0.05
COUNTED_TOKENS = 2**24
"""Frequencies are counted over at most so many tokens of the train split."""

_FUNCTION_WORDS = """
a an the this that these those some any no each every all both such own other
i me my we us our you your he him his she her it its they them their who whom whose which what
of in to for with on at by from as into about than through over under between against upon
and or but nor if because while although so when where how not only also then there here very
is am are was were be been being have has had do does did
will would shall should can could may might must
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class ClassDepth:
    """Depth of one class of tokens."""

    tokens: int
    """Tokens of the class that a scored target follows."""
    mean_layers: float | None
    """Layers they ran on average; None where there is no such token."""


def count_tokens(tokens: Tokens, vocab_size: int) -> npt.NDArray[np.int64]:
    """(V,) occurrences of every id in the first 16 M tokens of a stream."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    end = min(len(tokens), COUNTED_TOKENS)
    for start in range(0, end, 2**20):
        counts += np.bincount(tokens[start : min(start + 2**20, end)], minlength=vocab_size)
    return counts


def token_classes(tokenizer: Tokenizer, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(V,) index into `CLASSES` of every id, given the ids' occurrences in the train split (V,)."""
    classes = np.array([_class_by_text(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)])
    rest = np.flatnonzero(classes < 0)
    rest = rest[np.argsort(-counts[rest], kind="stable")]
    occurrences = counts[rest]
    before, total = np.cumsum(occurrences) - occurrences, occurrences.sum()
    rare = (before >= (1 - RARE_SHARE) * total) | (occurrences == 0)
    frequent = (before < FREQUENT_SHARE * total) & ~rare
    classes[rest] = np.select(
        [frequent, rare], [CLASSES.index("frequent"), CLASSES.index("rare")], CLASSES.index("other")
    )
    return classes


def depth_by_class(score: Score, classes: npt.NDArray[np.int64]) -> dict[str, ClassDepth]:
    """Mean layers run by the tokens of each class, from the table of :func:`token_classes`."""
    tokens = np.bincount(classes, weights=score.seen, minlength=len(CLASSES))
    layers = np.bincount(classes, weights=score.layers_run, minlength=len(CLASSES))
    return {
        name: ClassDepth(int(count), float(run / count) if count else None)
        for name, count, run in zip(CLASSES, tokens, layers, strict=True)
    }


def _class_by_text(piece: bytes) -> int:
    """Index of a class that the token's text decides, else −1."""
    if not piece:
        return CLASSES.index("separator")
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return -1
    if not any(unicodedata.category(character)[0] in "LN" for character in text):
        return CLASSES.index("punctuation")
    return CLASSES.index("function words") if text.strip().lower() in FUNCTION_WORDS else -1
