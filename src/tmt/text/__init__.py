"""Documents: where text comes from and which split each document belongs to."""

from tmt.text.corpus import PARTS, SPLITS, Corpus, Part, Split
from tmt.text.held_out import HeldOutCorpus
from tmt.text.reading import Reading
from tmt.text.sources import is_plain_text, open_corpus, require_corpus

__all__ = [
    "PARTS",
    "SPLITS",
    "Corpus",
    "HeldOutCorpus",
    "Part",
    "Reading",
    "Split",
    "is_plain_text",
    "open_corpus",
    "require_corpus",
]
