"""From a tokenizer's name to the tokenizer: train it, restore it, or fetch it."""

import re
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import tokenizers

from tmt.errors import InputError, unknown
from tmt.text import Corpus
from tmt.text.reason import reason
from tmt.tokens.byte_level import BPETokenizer, ByteTokenizer, load_byte_level, train_bpe
from tmt.tokens.sentence_piece import SentencePieceTokenizer, train_sentence_piece
from tmt.tokens.tokenizer import Tokenizer
from tmt.user_cache import built_whole, cache_root, discard

TRAINING_BYTES = 2**28
"""A tokenizer is trained on at most so many characters of the train split."""

SMALLEST = {"bpe": 257, "sp": 261}
LARGEST = 2**20
"""Bounds on the vocabulary of a trained tokenizer."""

FILES = ("tokenizer.json", "tokenizer.model")

_TRAINED = re.compile(r"(bpe|sp)[:-](\d+)")
_FORMAT = 1


def make_tokenizer(spec: str, corpus: Corpus | None = None, cache_dir: str | Path | None = None) -> Tokenizer:
    """The tokenizer that `spec` names.

    Args:
        spec: `bytes`; `bpe:4096` (byte-level BPE) or `sp:8192` (SentencePiece), trained on the train
            split of `corpus` and kept in the cache; the path of a tokenizer.json, a tokenizer.model or
            a folder with one; or `hf:owner/name` for a tokenizer on the hub.
        corpus: needed by `bpe` and `sp` only.
        cache_dir: where trained tokenizers are kept (default: see :func:`tmt.user_cache.cache_root`).

    Raises:
        InputError: `spec` names nothing known, or the tokenizer cannot be trained, read or fetched.
    """
    require_tokenizer(spec)
    if spec == "bytes":
        return ByteTokenizer()
    if match := _TRAINED.fullmatch(spec):
        if corpus is None:
            raise InputError(f"tokenizer {spec} is trained on a corpus, but none was given")
        return _trained(match[1], int(match[2]), corpus, cache_root(cache_dir))
    if spec.startswith("hf:"):
        return _fetch(spec.removeprefix("hf:"))
    return load_tokenizer(Path(spec).expanduser())


def require_tokenizer(spec: str) -> None:
    """InputError unless :func:`make_tokenizer` knows what kind of thing `spec` names; nothing is read yet."""
    if match := _TRAINED.fullmatch(spec):
        kind, size = match[1], int(match[2])
        if not SMALLEST[kind] <= size <= LARGEST:
            raise InputError(
                f"tokenizer {kind}:{size}: the size must be in [{SMALLEST[kind]}, {LARGEST}]; "
                "256 bytes and the special tokens come first"
            )
    elif spec != "bytes" and not spec.startswith("hf:"):
        path = Path(spec).expanduser()
        if not (spec and (path.exists() or path.suffix in (".json", ".model") or "/" in spec)):
            hint = "(sizes are free; or a path, or hf:owner/name)"
            raise unknown("tokenizer", spec, ["bytes", "bpe:4096", "sp:8192"], hint)


def trained_size(spec: str) -> int:
    """How many ids a tokenizer that :func:`make_tokenizer` trains will have; 0 for any other."""
    match = _TRAINED.fullmatch(spec)
    return int(match[2]) if match else 0


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Restore a tokenizer from a tokenizer.json or tokenizer.model, or from a folder that holds one.

    Raises:
        InputError: there is no such file, or it is not a usable tokenizer.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        if not found:
            raise InputError(f"folder {path} holds neither {' nor '.join(FILES)}")
        path = found[0]
    if not path.is_file():
        raise InputError(f"no such tokenizer file: {path}")
    if path.suffix != ".model":
        return load_byte_level(path)
    try:
        return SentencePieceTokenizer(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def _trained(kind: str, vocab_size: int, corpus: Corpus, root: Path) -> Tokenizer:
    name = f"{kind}:{vocab_size}"
    digest = sha256(repr((_FORMAT, TRAINING_BYTES, corpus.key, name)).encode()).hexdigest()
    target = root / "tokenizers" / digest[:32]
    if target.exists():
        try:
            return load_tokenizer(target)
        except InputError:
            discard(target)
    with built_whole(target) as folder:
        texts = _head(corpus.documents("train"))
        if kind == "bpe":
            tokenizer = train_bpe(texts, vocab_size, progress=sys.stderr.isatty())
        else:
            tokenizer = train_sentence_piece(texts, vocab_size)
        tokenizer.save(folder)
    return tokenizer


def _head(documents: Iterable[str]) -> Iterator[str]:
    left = TRAINING_BYTES
    for document in documents:
        yield document[:left]
        left -= len(document)
        if left <= 0:
            return


def _fetch(name: str) -> BPETokenizer:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise InputError(f"tokenizer hf:{name}: expected hf:owner/name")
    try:
        inner = tokenizers.Tokenizer.from_pretrained(name)
    except Exception as error:  # the client raises whatever its transport raises
        raise InputError(f"cannot fetch tokenizer hf:{name}: {reason(error)}") from error
    return BPETokenizer(inner, f"hf:{name}")
