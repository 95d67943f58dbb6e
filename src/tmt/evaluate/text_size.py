"""The text behind a stretch of tokens: what bits per byte and perplexity per word divide by."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.evaluate.windows import Tokens
from tmt.text import Part
from tmt.tokens import StreamDecoder, Tokenizer, TokenSplits, TokenStream

CHUNK = 2**16

BytesOf = Literal["text", "normalised text"]


@dataclass(frozen=True)
class TextSize:
    """How much text a stretch of tokens is."""

    bytes: int
    """UTF-8 bytes that the tokens spell."""
    raw_bytes: int | None
    """UTF-8 bytes of the text before a tokenizer rewrote it; None where only the tokens are known."""
    words: int
    """Words between white space; a document's start ends a word."""


def bytes_of(tokenizer: Tokenizer, *, raw: bool = False) -> BytesOf:
    """What bits per byte divide by: the text that the tokens spell, or the text it was made from (`raw`)."""
    return "normalised text" if tokenizer.rewrites_text and not raw else "text"


def knows_raw_bytes(tokens: Tokens, tokenizer: Tokenizer) -> bool:
    """Whether the bytes of the raw text are known: a stream keeps them, or the tokens spell all of it."""
    return not tokenizer.rewrites_text or _raw_bytes(tokens) is not None


def require_raw_bytes(tokens: Tokens, tokenizer: Tokenizer) -> None:
    """InputError unless :func:`knows_raw_bytes`."""
    if not knows_raw_bytes(tokens, tokenizer):
        raise InputError(
            "these token files do not say how many bytes of raw text each token stands for, and their "
            "tokenizer rewrites text: leave out --raw-bytes, or name the text itself with --data"
        )


def target_bytes(
    tokens: Tokens, tokenizer: Tokenizer, start: int, stop: int, *, raw: bool = False
) -> npt.NDArray[np.int64]:
    """UTF-8 bytes that each of tokens `start`..`stop` − 1 of a stream is charged with; `start` is above 0.

    Those that the token spells; with `raw` those of the raw text it stands for, see :func:`knows_raw_bytes`.
    """
    raw_bytes = _raw_bytes(tokens)
    if raw and raw_bytes is not None:
        return raw_bytes[start:stop]
    ids = tokens[start - 1 : stop]
    return tokenizer.byte_counts(ids[1:], ids[:-1])


def text_bytes(tokens: Tokens, tokenizer: Tokenizer, targets: int, *, raw: bool = False) -> int:
    """The bytes of tokens 1..`targets` of a stream."""
    starts = range(1, targets + 1, CHUNK)
    parts = (target_bytes(tokens, tokenizer, s, min(s + CHUNK, targets + 1), raw=raw) for s in starts)
    return sum(int(part.sum()) for part in parts)


def raw_text_bytes(tokens: Tokens, tokenizer: Tokenizer, targets: int) -> int | None:
    """The bytes of the raw text behind tokens 1..`targets`; None where they are not known."""
    return text_bytes(tokens, tokenizer, targets, raw=True) if knows_raw_bytes(tokens, tokenizer) else None


def spelt_share(splits: TokenSplits, split: Part, tokenizer: Tokenizer) -> float | None:
    """The share of a split's raw text, in bytes, that its tokens can spell; None where it is not known.

    Of token files with raw bytes the most that it can be.
    """
    if not tokenizer.rewrites_text:
        return 1.0
    if split in splits.kept:
        return splits.kept[split] / max(1, splits.bytes[split])
    stream = getattr(splits, split)
    raw = raw_text_bytes(stream, tokenizer, len(stream) - 1)
    return None if raw is None else min(1.0, text_bytes(stream, tokenizer, len(stream) - 1) / max(1, raw))


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
    size = text_bytes(tokens, tokenizer, targets)
    return TextSize(size, raw_text_bytes(tokens, tokenizer, targets), words)


def _raw_bytes(tokens: Tokens) -> TokenStream | None:
    return tokens.raw_bytes if isinstance(tokens, TokenStream) else None
