"""`tmt tokenizer`: train or load a tokenizer, show how it cuts a text, keep it."""

import json

from tmt.errors import InputError
from tmt.options.tokenizer import TokenizerOptions
from tmt.terminal import typed
from tmt.tokens import open_source


def tokenizer(options: TokenizerOptions) -> None:
    """Run the command."""
    made, text = open_source(options.data).tokenizer(options.tokenizer), typed(options.text)
    ids = made.encode(text)
    pieces = [made.decode([token]) for token in ids]
    if options.out is not None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            made.save(options.out)
        except OSError as error:
            raise InputError(f"cannot write {options.out}: {error.strerror}") from error
    kept, size = made.kept_bytes(text), len(text.encode())
    if options.json:
        record = {"vocab_size": made.vocab_size, "ids": ids, "pieces": pieces, "key": made.key}
        print(json.dumps({**record, "bytes": size, "spelt_bytes": kept}))
        return
    print(f"{options.tokenizer}: {made.vocab_size:,} ids")
    if kept < size:
        print(f"it spells {kept:,} of the {size:,} bytes of the text")
    print(" ".join(f"{piece!r}:{token}" for piece, token in zip(pieces, ids, strict=True)))
