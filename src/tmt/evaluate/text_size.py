"""The raw text behind a stretch of tokens: what bits per byte and perplexity per word divide by."""

from dataclasses import dataclass

from tmt.evaluate.windows import Tokens
from tmt.tokens import StreamDecoder, Tokenizer

CHUNK = 2**16


@dataclass(frozen=True)
class TextSize:
    """UTF-8 bytes, and words between white space; a document's start ends a word."""

    bytes: int
    words: int


def text_size(tokens: Tokens, tokenizer: Tokenizer, targets: int) -> TextSize:
    """The text of tokens 1..`targets` of a stream (the first token is never predicted)."""
    decoder = StreamDecoder(tokenizer)

    def text_of(token: int) -> str:
        return decoder.flush() + " " if token == tokenizer.eot_id else decoder.push(token)

    size = words = 0
    inside_word = False
    for start in range(0, targets, CHUNK):
        ids = tokens[start : min(start + CHUNK, targets) + 1]
        size += int(tokenizer.byte_counts(ids[1:], ids[:-1]).sum())
        if text := "".join(map(text_of, ids[1:].tolist())):
            words += len(text.split()) - (inside_word and not text[0].isspace())
            inside_word = not text[-1].isspace()
    return TextSize(size, words + (bool(decoder.flush()) and not inside_word))
