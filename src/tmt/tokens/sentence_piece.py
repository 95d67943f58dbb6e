"""SentencePiece with byte fallback, and the bytes its pieces stand for."""

from collections.abc import Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt.errors import InputError
from tmt.tokens.raw_bytes import kept_bytes, raw_byte_counts
from tmt.tokens.tokenizer import Ids, Tokenizer

SPACE = "▁"
_NOTHING = b"\xff"
"""A byte that no UTF-8 has: it stands where a "▁" writes nothing."""


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece model; its BOS separates documents.

    A model with a normaliser, a dummy prefix or white space that it removes rewrites text before it cuts
    it. Its byte counts are those of the rewritten text: over BOS + ids they add up to the UTF-8 bytes of
    `decode(ids)`. Those of the raw text follow from where the normaliser says that each byte comes from.
    A model with none of these is lossless: `decode(encode(text)) == text`, and every byte is counted.

    Args:
        model: the serialised model, as found in `tokenizer.model`.
        name: what to call it in errors.

    Raises:
        InputError: `sentencepiece` or `protobuf` is not installed, `model` is not a model of it, or it
            lacks BOS, byte fallback or the piece "▁" of its own.
    """

    def __init__(self, model: bytes, name: str) -> None:
        library, messages = import_sentencepiece(name)
        self._inner = inner = library.SentencePieceProcessor()
        try:
            inner.LoadFromSerializedProto(model)  # its constructor takes an empty model and crashes later
        except RuntimeError:
            raise InputError(f"tokenizer {name} is not a SentencePiece model") from None
        self._model = model
        self.key = sha256(model).hexdigest()
        self.vocab_size = inner.get_piece_size()
        self.eot_id = inner.bos_id()
        self.rewrites_text = _rewrites_text(messages.ModelProto.FromString(model))
        ids = range(self.vocab_size)
        self._bound = np.array(
            [inner.is_control(i) or inner.is_unknown(i) or inner.is_unused(i) for i in ids], dtype=bool
        )
        self._require(name)
        self._pieces = [
            b"" if self._bound[i] else _piece_bytes(inner.id_to_piece(i), inner.is_byte(i)) for i in ids
        ]
        leading = [self.rewrites_text and inner.id_to_piece(i).startswith(SPACE) for i in ids]
        self._lead = np.array(leading) & ~self._bound
        self._lengths = np.array([len(piece) for piece in self._pieces], dtype=np.int64)
        normalised = [0 if self._bound[i] else _normalised_length(inner, i) for i in ids]
        self._normalised = np.array(normalised, dtype=np.int64)
        self._mark = [inner.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE.encode()]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text; runs on all cores.

        A "▁" of the text itself is a space to the library; where text is kept, its bytes are written.
        """
        if self.rewrites_text or not any(SPACE in text for text in texts):
            return self._encode(texts)
        return [self._encode_around_marks(text) for text in texts]

    def token_bytes(self, token: int, previous: int | None = None) -> bytes:
        """The bytes of `token`: without its leading space at the start and after a control token.

        A lossless model writes the space there too.
        """
        piece = self._pieces[token]
        return piece[1:] if self._lead[token] and (previous is None or self._bound[previous]) else piece

    def byte_counts(self, ids: Ids, previous: Ids) -> npt.NDArray[np.int64]:
        """Bytes of each piece, int64; see :meth:`token_bytes` for a leading space."""
        ids = np.asarray(ids, dtype=np.int64)
        return self._lengths[ids] - (self._lead[ids] & self._bound[np.asarray(previous, dtype=np.int64)])

    def raw_byte_counts(self, text: str, ids: Ids) -> npt.NDArray[np.int64]:
        """See :class:`Tokenizer`; what the normaliser drops goes to the token before, or to the first."""
        if not self.rewrites_text:
            return super().raw_byte_counts(text, ids)
        raw = text.encode()
        _, origins = self._normalise(raw)
        ends = np.cumsum(self._normalised[np.asarray(ids, dtype=np.int64)])
        return raw_byte_counts(ends, origins, len(raw))

    def kept_bytes(self, text: str) -> int:
        """See :class:`Tokenizer`."""
        if not self.rewrites_text:
            return super().kept_bytes(text)
        raw = text.encode()
        normalised, origins = self._normalise(raw)
        mark = SPACE.encode()
        if normalised.startswith(mark):
            normalised = normalised.replace(mark, _NOTHING * len(mark), 1)
        spelt = normalised.replace(mark, b" " + _NOTHING * (len(mark) - 1))
        written = np.frombuffer(spelt, dtype=np.uint8) != _NOTHING[0]
        return kept_bytes(raw, spelt.replace(_NOTHING, b""), origins[:-1][written])

    def save(self, folder: str | Path) -> Path:
        """Write `tokenizer.model`, the file SentencePiece itself reads."""
        path = Path(folder) / "tokenizer.model"
        path.write_bytes(self._model)
        return path

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._inner.encode(list(texts), out_type=int, add_bos=False, add_eos=False)

    def _encode_around_marks(self, text: str) -> list[int]:
        first, *others = self._encode(text.split(SPACE))
        return [*first, *chain.from_iterable([*self._mark, *ids] for ids in others)]

    def _normalise(self, raw: bytes) -> tuple[bytes, npt.NDArray[np.int64]]:
        """The rewritten text, and where each of its bytes comes from, and its end."""
        normalised, origins = self._inner.normalize(raw, with_offsets=True)
        return normalised, np.array(origins or [0], dtype=np.int64)

    def _require(self, name: str) -> None:
        if self.eot_id < 0:
            raise InputError(
                f"tokenizer {name} has no BOS, which separates documents; train one with sp:8192"
            )
        if not any(map(self._inner.is_byte, range(self.vocab_size))):
            raise InputError(
                f"tokenizer {name} has no byte fallback, so it cannot write all text; train one with sp:8192"
            )
        if self._bound[self._inner.piece_to_id(SPACE)]:
            raise InputError(
                f"tokenizer {name} lacks the piece {SPACE!r} (U+2581) of its own, so a space before rare "
                "text would cost three byte pieces; train one with sp:8192, which always has it"
            )


def import_sentencepiece(name: str) -> tuple[Any, Any]:
    """The library, and the messages that its models are made of.

    Raises:
        InputError: they are not installed; `name` is what needs them.
    """
    try:
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        raise InputError(
            f"tokenizer {name} needs sentencepiece and protobuf: "
            'pip install "temporalmesh-transformer[sentencepiece]"'
        ) from None
    return sentencepiece, sentencepiece_model_pb2


def _rewrites_text(model: Any) -> bool:
    """Whether a model changes text before it is cut, or after it is joined."""
    before, after = model.normalizer_spec, model.denormalizer_spec
    maps = before.precompiled_charsmap or after.precompiled_charsmap
    spaces = before.add_dummy_prefix or before.remove_extra_whitespaces or not before.escape_whitespaces
    return bool(maps or spaces)


def _piece_bytes(piece: str, is_byte: bool) -> bytes:
    return bytes([int(piece[3:-1], 16)]) if is_byte else piece.replace(SPACE, " ").encode()


def _normalised_length(inner: Any, token: int) -> int:
    """Bytes of a piece in normalised text, where a space is the three of "▁"."""
    return 1 if inner.is_byte(token) else len(inner.id_to_piece(token).encode())
