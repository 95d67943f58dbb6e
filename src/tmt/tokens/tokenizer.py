"""What every tokenizer offers, and decoding that never shows half a character."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Ids = Sequence[int] | npt.NDArray[np.integer]


class Tokenizer(ABC):
    """Text to token ids and back, with an exact account of the bytes each token stands for.

    Attributes:
        vocab_size: number of ids; every id is in `range(vocab_size)`.
        eot_id: the id that starts each document in a token stream; stands for 0 bytes.
        key: hexadecimal digest of the tokenizer's content.
        rewrites_text: whether text is changed before it is cut, so that `byte_counts` are not those of
            the raw text.
    """

    vocab_size: int
    eot_id: int
    key: str
    rewrites_text: bool = False

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without special tokens; text that spells a special token is plain text."""
        return self.encode_batch([text])[0]

    @abstractmethod
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, as :meth:`encode` gives them."""

    @abstractmethod
    def token_bytes(self, token: int, previous: int | None = None) -> bytes:
        """The UTF-8 bytes (maybe part of a character) that `token` adds after `previous`.

        `previous` matters to SentencePiece only: a word's leading space is not written at the start of
        a text (None) or after a control token.
        """

    @abstractmethod
    def byte_counts(self, ids: Ids, previous: Ids) -> npt.NDArray[np.int64]:
        """Bytes charged for each target in `ids` given the token before it; int64, shape of `ids`.

        Equal to `len(token_bytes(id, previous))`: the bytes that a model is asked to predict, whose sum bits
        per byte divide by.
        """

    def raw_byte_counts(self, text: str, ids: Ids) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of `text` that the separator and each of its `ids` stand for; (1 + len(ids),) int64.

        They add up to `len(text.encode())`. No entry exceeds 65,535.

        Raises:
            InputError: `ids` are too few for that bound, or not those of `text`.
        """
        document = np.array([self.eot_id, *ids], dtype=np.int64)
        return self.byte_counts(document, np.roll(document, 1))

    def kept_bytes(self, text: str) -> int:
        """How many UTF-8 bytes of `text` its tokens can spell; all of them unless it is rewritten."""
        return len(text.encode())

    @abstractmethod
    def save(self, folder: str | Path) -> Path:
        """Write the one file that :func:`tmt.tokens.load_tokenizer` needs into `folder`; return its path."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; special tokens vanish, bytes that are not UTF-8 become U+FFFD."""
        decoder = StreamDecoder(self)
        return "".join([*map(decoder.push, ids), decoder.flush()])


class StreamDecoder:
    """Decode token by token, giving out whole characters only."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._previous: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes; "" while one is still unfinished."""
        token = int(token)
        piece = self._tokenizer.token_bytes(token, self._previous)
        self._previous = token
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """End the text: an unfinished character comes out as U+FFFD. The decoder can be used afresh."""
        self._previous = None
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
