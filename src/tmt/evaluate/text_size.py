"""The raw text behind a stretch of tokens: what bits per byte and perplexity per word divide by."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt.evaluate.windows import Tokens
from tmt.tokens import StreamDecoder, Tokenizer, TokenStream

CHUNK = 2**16

BytesOf = Literal["text", "normalised text"]


@dataclass(frozen=True)
class TextSize:
    """UTF-8 bytes, and words between white space; a document's start ends a word."""

    bytes: int
    words: int


def bytes_of(tokens: Tokens, tokenizer: Tokenizer) -> BytesOf:
    """Which bytes the tokens are charged with.

    Those of the raw text, unless the tokenizer rewrites text and the stream does not know what the text
    was: then the bytes of what it was rewritten to.
    """
    return "normalised text" if tokenizer.rewrites_text and _raw_bytes(tokens) is None else "text"


def target_bytes(tokens: Tokens, tokenizer: Tokenizer, start: int, stop: int) -> npt.NDArray[np.int64]:
    """UTF-8 bytes that each of tokens `start`..`stop` − 1 of a stream is charged with; `start` is above 0."""
    raw_bytes = _raw_bytes(tokens)
    if raw_bytes is not None:
        return raw_bytes[start:stop]
    ids = tokens[start - 1 : stop]
    return tokenizer.byte_counts(ids[1:], ids[:-1])


def text_bytes(tokens: Tokens, tokenizer: Tokenizer, targets: int) -> int:
    """The bytes of tokens 1..`targets` of a stream."""
    starts = range(1, targets + 1, CHUNK)
    return sum(int(target_bytes(tokens, tokenizer, s, min(s + CHUNK, targets + 1)).sum()) for s in starts)


def text_size(tokens: Tokens, tokenizer: Tokenizer, targets: int) -> TextSize:
    """The text of tokens 1..`targets` of a stream (the first token is never predicted)."""
    decoder = StreamDecoder(tokenizer)

    def text_of(token: int) -> str:
        return decoder.flush() + " " if token == tokenizer.eot_id else decoder.push(token)

    words = 0
    inside_word = False
    for start in range(1, targets + 1, CHUNK):
        ids = tokens[start : min(start + CHUNK, targets + 1)]
        if text := "".join(map(text_of, ids.tolist())):
            words += len(text.split()) - (inside_word and not text[0].isspace())
            inside_word = not text[-1].isspace()
    words += bool(decoder.flush()) and not inside_word
    return TextSize(text_bytes(tokens, tokenizer, targets), words)


def _raw_bytes(tokens: Tokens) -> TokenStream | None:
    return tokens.raw_bytes if isinstance(tokens, TokenStream) else None
