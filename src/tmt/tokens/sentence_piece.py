"""SentencePiece BPE with byte fallback, and the bytes its pieces stand for."""

import io
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.text.reason import reason
from tmt.tokens.raw_bytes import raw_byte_counts
from tmt.tokens.tokenizer import Ids, Tokenizer

SPACE = "▁"
_LONGEST_SENTENCE = 4096


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model; its BOS separates documents.

    The model rewrites text before it cuts it (NFKC, runs of white space), so its byte counts are those
    of the rewritten text: over BOS + ids they add up to the UTF-8 bytes of `decode(ids)`. Those of the
    raw text follow from where the normaliser says that each byte comes from.

    Args:
        model: the serialised model, as found in `tokenizer.model`.
        name: what to call it in errors.

    Raises:
        InputError: `sentencepiece` is not installed, `model` is not a model of it, or it lacks BOS,
            byte fallback or the piece "▁" of its own.
    """

    rewrites_text = True

    def __init__(self, model: bytes, name: str) -> None:
        self._inner = inner = _sentencepiece(name).SentencePieceProcessor()
        try:
            inner.LoadFromSerializedProto(model)  # its constructor takes an empty model and crashes later
        except RuntimeError:
            raise InputError(f"tokenizer {name} is not a SentencePiece model") from None
        self._model = model
        self.key = sha256(model).hexdigest()
        self.vocab_size = inner.get_piece_size()
        self.eot_id = inner.bos_id()
        ids = range(self.vocab_size)
        self._bound = np.array(
            [inner.is_control(i) or inner.is_unknown(i) or inner.is_unused(i) for i in ids], dtype=bool
        )
        self._pieces = [
            b"" if self._bound[i] else _piece_bytes(inner.id_to_piece(i), inner.is_byte(i)) for i in ids
        ]
        self._lead = np.array([not self._bound[i] and inner.id_to_piece(i).startswith(SPACE) for i in ids])
        self._lengths = np.array([len(piece) for piece in self._pieces], dtype=np.int64)
        normalised = [0 if self._bound[i] else _normalised_length(inner, i) for i in ids]
        self._normalised = np.array(normalised, dtype=np.int64)
        self._require(name)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; runs on all cores."""
        return self._inner.encode(list(texts), out_type=int, add_bos=False, add_eos=False)

    def token_bytes(self, token: int, previous: int | None = None) -> bytes:
        """The bytes of `token`: without its leading space at the start and after a control token."""
        piece = self._pieces[token]
        return piece[1:] if self._lead[token] and (previous is None or self._bound[previous]) else piece

    def byte_counts(self, ids: Ids, previous: Ids) -> npt.NDArray[np.int64]:
        """Bytes of each piece, int64; a leading space counts unless a control token stands before it."""
        ids = np.asarray(ids, dtype=np.int64)
        return self._lengths[ids] - (self._lead[ids] & self._bound[np.asarray(previous, dtype=np.int64)])

    def raw_byte_counts(self, text: str, ids: Ids) -> npt.NDArray[np.int64]:
        """See :class:`Tokenizer`; what the normaliser drops goes to the token before, or to the first."""
        raw = text.encode()
        _, origins = self._inner.normalize(raw, with_offsets=True)
        ends = np.cumsum(self._normalised[np.asarray(ids, dtype=np.int64)])
        return raw_byte_counts(ends, np.array(origins or [0], dtype=np.int64), len(raw))

    def save(self, folder: str | Path) -> Path:
        """Write `tokenizer.model`, the file SentencePiece itself reads."""
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(self._model)
        return path

    def _require(self, name: str) -> None:
        if self.eot_id < 0:
            raise InputError(
                f"tokenizer {name} has no BOS, which separates documents; train one with sp:8192"
            )
        if not any(map(self._inner.is_byte, range(self.vocab_size))):
            raise InputError(f"tokenizer {name} has no byte fallback, so some text cannot be written in it")
        if self._bound[self._inner.piece_to_id(SPACE)]:
            raise InputError(
                f"tokenizer {name} lacks the piece {SPACE!r} (U+2581) of its own, so a space before rare "
                "text would cost three byte pieces; train with more text or a larger vocabulary"
            )


def train_sentence_piece(texts: Iterable[str], vocab_size: int) -> SentencePieceTokenizer:
    """Learn SentencePiece BPE: pad 0, BOS 1, EOS 2, unknown 3, 256 byte pieces, then merges.

    Raises:
        InputError: `sentencepiece` is not installed, or the texts do not fit `vocab_size`.
    """
    name = f"sp:{vocab_size}"
    model = io.BytesIO()
    try:
        _sentencepiece(name).SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            byte_fallback=True,
            character_coverage=0.999,
            split_digits=True,
            normalization_rule_name="nmt_nfkc",
            add_dummy_prefix=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        why = reason(error).split("] ")[-1]
        raise InputError(f"tokenizer {name} cannot be trained on this corpus: {why}") from None
    tokenizer = SentencePieceTokenizer(model.getvalue(), name)
    if tokenizer.vocab_size < vocab_size:
        found = tokenizer.vocab_size
        raise InputError(
            f"tokenizer {name}: the corpus yields only {found} tokens; ask for sp:{found} or less"
        )
    return tokenizer


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Lines, which the trainer takes for sentences; it would pass over long ones, so they are cut."""
    width = _LONGEST_SENTENCE // 4
    for text in texts:
        for line in text.splitlines():
            yield from (line[i : i + width] for i in range(0, len(line), width))


def _piece_bytes(piece: str, is_byte: bool) -> bytes:
    return bytes([int(piece[3:-1], 16)]) if is_byte else piece.replace(SPACE, " ").encode()


def _normalised_length(inner: Any, token: int) -> int:
    """Bytes of a piece in normalised text, where a space is the three of "▁"."""
    return 1 if inner.is_byte(token) else len(inner.id_to_piece(token).encode())


def _sentencepiece(name: str):
    try:
        import sentencepiece
    except ImportError:
        raise InputError(
            f'tokenizer {name} needs sentencepiece: pip install "temporalmesh-transformer[sentencepiece]"'
        ) from None
    return sentencepiece
