"""`tmt tokenizer`: train or load a tokenizer, show how it cuts a text, keep it."""

import json

from tmt.errors import InputError
from tmt.options.tokenizer import TokenizerOptions
from tmt.terminal import typed
from tmt.text import open_corpus
from tmt.tokens import make_tokenizer


def tokenizer(options: TokenizerOptions) -> None:
    """Run the command."""
    made = make_tokenizer(options.tokenizer, open_corpus(options.data))
    ids = made.encode(typed(options.text))
    pieces = [made.decode([token]) for token in ids]
    if options.out is not None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            made.save(options.out)
        except OSError as error:
            raise InputError(f"cannot write {options.out}: {error.strerror}") from error
    if options.json:
        print(json.dumps({"vocab_size": made.vocab_size, "ids": ids, "pieces": pieces, "key": made.key}))
        return
    print(f"{options.tokenizer}: {made.vocab_size:,} ids")
    print(" ".join(f"{piece!r}:{token}" for piece, token in zip(pieces, ids, strict=True)))
