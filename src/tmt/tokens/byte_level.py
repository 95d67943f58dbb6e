"""Tokenizers whose every token is a string of bytes: raw bytes and byte-level BPE."""

import json
import re
from abc import ABC
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from tmt.errors import InputError, reason
from tmt.tokens.alignment import Alignment
from tmt.tokens.raw_bytes import kept_bytes, raw_byte_counts
from tmt.tokens.tokenizer import Ids, Tokenizer

SEPARATOR = "<|endoftext|>"
_KNOWN_SEPARATORS = (SEPARATOR, "<|end_of_text|>", "</s>")
_KEEPING_ALL_TEXT = {"ByteLevel", "Split", "Digits", "Punctuation"}
LONGEST_WORD = 1024
_LONG_WORD = re.compile(rf"(?<!\S)\S{{{LONGEST_WORD + 1}}}")
_BYTES_FILE = {"type": "tmt-bytes", "version": 1}


class ByteLevelTokenizer(Tokenizer, ABC):
    """A token's bytes are `pieces[token]`, whatever stands before it."""

    def __init__(self, pieces: list[bytes], eot_id: int, key: str) -> None:
        self._pieces = pieces
        self.vocab_size = len(pieces)
        self.eot_id = eot_id
        self.key = key
        self.byte_lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)

    def token_bytes(self, token: int, previous: int | None = None) -> bytes:
        """The bytes of `token`; `previous` plays no part."""
        return self._pieces[token]

    def byte_counts(self, ids: Ids, previous: Ids) -> npt.NDArray[np.int64]:
        """The length of each token's bytes, int64; `previous` plays no part."""
        return self.byte_lengths[np.asarray(ids, dtype=np.int64)]


class ByteTokenizer(ByteLevelTokenizer):
    """Every byte of the UTF-8 text is a token; id 256 separates documents."""

    def __init__(self) -> None:
        pieces = [bytes([value]) for value in range(256)] + [b""]
        super().__init__(pieces, eot_id=256, key=sha256(_bytes_file().encode()).hexdigest())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The UTF-8 bytes of each text."""
        return [list(text.encode()) for text in texts]

    def save(self, folder: str | Path) -> Path:
        """Write a `tokenizer.json` that says no more than its kind."""
        path = Path(folder) / "tokenizer.json"
        path.write_text(_bytes_file(), encoding="utf-8")
        return path


class BPETokenizer(ByteLevelTokenizer):
    """Byte-level BPE in the format of Hugging Face `tokenizers`.

    One with a normaliser, or with a space that it puts before a text, rewrites text: its byte counts are
    those of the rewritten text, without a space at the start of a document.

    Args:
        inner: the tokenizer; its separator (`<|endoftext|>` or a known other) is added where missing.
        name: what to call it in errors.

    Raises:
        InputError: it is not byte-level BPE, so the bytes of a token are not certain.
    """

    def __init__(self, inner: tokenizers.Tokenizer, name: str) -> None:
        inner.no_truncation()
        inner.no_padding()
        special = {t.content for t in inner.get_added_tokens_decoder().values() if t.special}
        separator = next((known for known in _KNOWN_SEPARATORS if known in special), SEPARATOR)
        inner.add_special_tokens([separator])
        inner.encode_special_tokens = True
        content = inner.to_str()
        spec = json.loads(content)
        if why := _why_not_exact(spec):
            raise InputError(
                f"tokenizer {name}: {why}; only byte-level BPE has exact bytes; bpe:N trains one"
            )
        self._inner = inner
        pieces = _pieces(inner, spec)
        super().__init__(pieces, inner.get_vocab()[separator], sha256(content.encode()).hexdigest())
        self._adds_space = any(step.get("add_prefix_space") for step in _steps(spec["pre_tokenizer"]))
        self._lead = np.array([self._adds_space and piece.startswith(b" ") for piece in pieces])
        self.rewrites_text = self._adds_space or spec["normalizer"] is not None
        if self.rewrites_text:
            self._align = Alignment(spec, byte_of_symbol())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; runs on all cores."""
        return [row.ids for row in self._inner.encode_batch_fast(texts, add_special_tokens=False)]

    def token_bytes(self, token: int, previous: int | None = None) -> bytes:
        """The bytes of `token`; where a space is put before texts, none at the start of one."""
        piece = self._pieces[token]
        at_start = previous is None or not self._pieces[previous]
        return piece[1:] if self._lead[token] and at_start else piece

    def byte_counts(self, ids: Ids, previous: Ids) -> npt.NDArray[np.int64]:
        """The length of :meth:`token_bytes` of each, int64."""
        ids, previous = (np.asarray(row, dtype=np.int64) for row in (ids, previous))
        return self.byte_lengths[ids] - (self._lead[ids] & (self.byte_lengths[previous] == 0))

    def raw_byte_counts(self, text: str, ids: Ids) -> npt.NDArray[np.int64]:
        """See :class:`Tokenizer`; what the normaliser drops goes to the token before, or to the first."""
        if not self.rewrites_text:
            return super().raw_byte_counts(text, ids)
        spelt, origins = self._align(text)
        if self._adds_space and spelt and not spelt.startswith(b" "):
            origins = np.append(0, origins)
        ends = np.cumsum(self.byte_lengths[np.asarray(ids, dtype=np.int64)])
        size = len(text.encode())
        return raw_byte_counts(ends, np.append(origins, size), size)

    def kept_bytes(self, text: str) -> int:
        """See :class:`Tokenizer`."""
        if not self.rewrites_text:
            return super().kept_bytes(text)
        spelt, origins = self._align(text)
        lost = int(self._adds_space and spelt.startswith(b" "))
        return kept_bytes(text.encode(), spelt[lost:], origins[lost:])

    def save(self, folder: str | Path) -> Path:
        """Write `tokenizer.json`, which `tokenizers` and `transformers` read too."""
        path = Path(folder) / "tokenizer.json"
        path.write_text(self.to_str(), encoding="utf-8")
        return path

    def to_str(self) -> str:
        """The content of that file."""
        return self._inner.to_str()


def train_bpe(texts: Iterable[str], vocab_size: int, *, progress: bool) -> BPETokenizer:
    """Learn byte-level BPE of `vocab_size` ids: the separator, 256 bytes, and merges.

    There are fewer where the texts do not yield so many merges. A stretch without white space is learnt from
    in parts of :data:`LONGEST_WORD` characters: the time of each merge grows with the longest word.
    """
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[SEPARATOR],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=progress,
    )
    inner.train_from_iterator(_without_long_words(texts), trainer)
    return BPETokenizer(inner, f"bpe:{vocab_size}")


def _without_long_words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if _LONG_WORD.search(text):
            yield from (text[i : i + LONGEST_WORD] for i in range(0, len(text), LONGEST_WORD))
        else:
            yield text


def load_byte_level(path: Path) -> ByteLevelTokenizer:
    """Restore a saved `tokenizer.json`, ours or of Hugging Face `tokenizers`.

    Raises:
        InputError: the file cannot be read, is no tokenizer, or not a byte-level one.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if json.loads(content) == _BYTES_FILE:
            return ByteTokenizer()
        inner = tokenizers.Tokenizer.from_str(content)
    except Exception as error:  # `tokenizers` raises bare Exception
        raise InputError(f"{path} is not a tokenizer.json: {reason(error)}") from None
    return BPETokenizer(inner, str(path))


def _bytes_file() -> str:
    return json.dumps(_BYTES_FILE)


def _why_not_exact(spec: dict[str, Any]) -> str:
    """What in a serialised tokenizer would leave the bytes of a token uncertain; "" for nothing."""
    model = spec["model"]
    if model.get("type") != "BPE":
        return f"its model is {model.get('type')}, not BPE"
    steps = _steps(spec["pre_tokenizer"])
    if not any(step["type"] == "ByteLevel" for step in steps):
        return "it does not work on bytes"
    words = [token for token in spec["added_tokens"] if not token["special"]]
    if any(step.get("add_prefix_space") for step in steps) and (len(steps) > 1 or words):
        return "it adds a space before every part of the text"
    if any(s["type"] not in _KEEPING_ALL_TEXT or s.get("behavior") == "Removed" for s in steps):
        return "its pre-tokenizer may drop text"
    if model.get("dropout"):
        return "its merges are random (dropout)"
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return "it marks word parts with a prefix or suffix"
    if missing := set(pre_tokenizers.ByteLevel.alphabet()) - model["vocab"].keys():
        return f"its vocabulary lacks {len(missing)} of the 256 bytes"
    if any(token["lstrip"] or token["rstrip"] for token in words):
        return "an added token swallows white space"
    vocabulary = model["vocab"] | {token["content"]: token["id"] for token in spec["added_tokens"]}
    if len(set(vocabulary.values())) < len(vocabulary):
        return "two of its tokens share an id (its ids have gaps)"
    return ""


def _steps(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    if step is None:
        return []
    return step["pretokenizers"] if step["type"] == "Sequence" else [step]


def _pieces(inner: tokenizers.Tokenizer, spec: dict[str, Any]) -> list[bytes]:
    """The bytes of each id; special tokens and ids without a token have none."""
    vocabulary: dict[str, int] = inner.get_vocab()
    pieces = [b""] * (max(vocabulary.values()) + 1)
    added = {token["id"]: token for token in spec["added_tokens"]}
    values = byte_of_symbol()
    for symbols, token in vocabulary.items():
        if token not in added:
            pieces[token] = bytes(values[symbol] for symbol in symbols)
        elif not added[token]["special"]:
            pieces[token] = added[token]["content"].encode()
    return pieces


def byte_of_symbol() -> dict[str, int]:
    """The byte behind each symbol of the byte-level alphabet.

    Printable Latin-1 characters stand for their own byte; the other bytes, in order, for U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(256) if value not in printable]
    symbols = {chr(value): value for value in printable}
    return symbols | {chr(0x100 + n): value for n, value in enumerate(others)}
