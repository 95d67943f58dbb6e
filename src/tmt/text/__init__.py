"""Documents: where text comes from and which split each document belongs to."""

from tmt.text.corpus import SPLITS, Corpus, Split
from tmt.text.reading import Reading
from tmt.text.sources import open_corpus, require_corpus

__all__ = ["SPLITS", "Corpus", "Reading", "Split", "open_corpus", "require_corpus"]
