"""`open_source`: the one door from a name the user gives to tokens, made from text or found in files."""

from collections.abc import Mapping
from typing import Any

from tmt.errors import InputError
from tmt.text import Corpus, HeldOutCorpus, Reading, Split, open_corpus
from tmt.tokens.make import AUTO, make_tokenizer
from tmt.tokens.prepare import TokenSplits, prepare, prepare_whole
from tmt.tokens.public_shards import ShardFolder, find_shards
from tmt.tokens.tokenizer import Tokenizer


class TextSource:
    """A text, tokenised when its tokens are first asked for.

    Attributes:
        name: what the user called it.
        names_splits: whether it says itself which documents are held out.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.name = corpus.name
        self.names_splits = corpus.names_splits
        self._corpus = corpus

    def tokenizer(self, spec: str = AUTO) -> Tokenizer:
        """The tokenizer that `spec` names; see :func:`tmt.tokens.make_tokenizer`."""
        return make_tokenizer(spec, self._corpus)

    def tokens(self, tokenizer: Tokenizer) -> TokenSplits:
        """See :func:`tmt.tokens.prepare`."""
        return prepare(self._corpus, tokenizer)

    def whole(self, tokenizer: Tokenizer) -> TokenSplits:
        """See :func:`tmt.tokens.prepare.prepare_whole`."""
        return prepare_whole(self._corpus, tokenizer)


Source = TextSource | ShardFolder


def open_source(source: str, held: Mapping[Split, str] | None = None, **reading: Any) -> Source:
    """Open a folder of public token files, or a text.

    Args:
        source: the path of the folder, or a text as :func:`tmt.text.open_corpus` takes it.
        held: texts that are the validation or the test split, in the place of parts of a text; see
            :class:`tmt.text.HeldOutCorpus`. They are read whole, whatever `max_bytes`.
        reading: of a text; see there.

    Raises:
        InputError: there is nothing of that name, its content cannot be used, or what only text knows is
            asked of tokens.
    """
    shards = find_shards(source) if source != "sotu" else None
    if shards is None:
        corpus = open_corpus(source, **reading)
        texts = {split: _held_out(split, name, reading) for split, name in (held or {}).items()}
        return TextSource(HeldOutCorpus(corpus, texts) if texts else corpus)
    for split, name in (held or {}).items():
        raise InputError(f"{split} data {name} is about text, but {source} holds tokens, held-out ones too")
    default = Reading()
    for name, value in reading.items():
        if name != "text_field" and value != getattr(default, name):
            raise InputError(f"{name}={value} is about text, but {source} holds tokens; leave it out")
    return shards


def _held_out(split: Split, name: str, reading: Mapping[str, Any]) -> Corpus:
    if find_shards(name) is not None:
        raise InputError(
            f"{split} data {name} holds tokens; give the text, or token files of all splits as data"
        )
    return open_corpus(name, **{**reading, "max_bytes": None})
