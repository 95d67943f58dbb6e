"""From a tokenizer's name to the tokenizer: train it, restore it, or fetch it."""

import re
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import tokenizers

from tmt.errors import InputError, reason, unknown
from tmt.text import Corpus
from tmt.tokens.byte_level import BPETokenizer, ByteTokenizer, load_byte_level, train_bpe
from tmt.tokens.sentence_piece import SentencePieceTokenizer
from tmt.tokens.sentence_piece_training import train_sentence_piece
from tmt.tokens.tokenizer import Tokenizer
from tmt.tokens.wanted import Wanted
from tmt.user_cache import built_whole, cache_root, discard

TRAINING_BYTES = 2**28
"""A tokenizer is trained on at most so many characters of the train split."""

FILES = ("tokenizer.json", "tokenizer.model")

AUTO = "auto"
"""The tokenizer that lies beside token files; for text that of :data:`DEFAULT_SIZE`."""

DEFAULT_SIZE = 4096
"""Ids, at most, of the byte-level BPE that a text gets where the tokenizer is `auto`."""

_FORMAT = 2


def make_tokenizer(spec: str, corpus: Corpus | None = None, cache_dir: str | Path | None = None) -> Tokenizer:
    """The tokenizer that `spec` names.

    Args:
        spec: `bytes`; `bpe:4096` (byte-level BPE), `sp:8192` (SentencePiece that keeps all text) or
            `sp:8192:nfkc` (SentencePiece as in the parameter-golf record, which rewrites text), trained on
            the train split of `corpus` and kept in the cache; `auto`, which is `bpe:4096` or as many as the
            corpus yields; the path of a tokenizer.json, a tokenizer.model or a folder with one; or
            `hf:owner/name` for a tokenizer on the hub.
        corpus: needed by those that are trained.
        cache_dir: where trained tokenizers are kept (default: see :func:`tmt.user_cache.cache_root`).

    Raises:
        InputError: `spec` names nothing known, or the tokenizer cannot be trained, read or fetched.
    """
    require_tokenizer(spec)
    if spec == "bytes":
        return ByteTokenizer()
    if wanted := _wanted(spec):
        if corpus is None:
            raise InputError(f"tokenizer {spec} is trained on a corpus, but none was given")
        tokenizer = _trained(wanted, corpus, cache_root(cache_dir))
        found = tokenizer.vocab_size
        if found < wanted.size and spec != AUTO:
            raise InputError(
                f"tokenizer {spec}: the corpus yields only {found} tokens; ask for {wanted.of_size(found)} "
                "or less"
            )
        return tokenizer
    if spec.startswith("hf:"):
        return _fetch(spec.removeprefix("hf:"))
    return load_tokenizer(Path(spec).expanduser())


def require_tokenizer(spec: str) -> None:
    """InputError unless :func:`make_tokenizer` knows what kind of thing `spec` names; nothing is read yet."""
    if wanted := _wanted(spec):
        wanted.check()
    elif spec != "bytes" and not spec.startswith("hf:"):
        path = Path(spec).expanduser()
        if not (spec and (path.exists() or path.suffix in (".json", ".model") or "/" in spec)):
            hint = "(sizes are free; or a path, or hf:owner/name)"
            raise unknown("tokenizer", spec, ["auto", "bytes", "bpe:4096", "sp:8192", "sp:8192:nfkc"], hint)


def trained_size(spec: str) -> int:
    """How many ids a tokenizer that :func:`make_tokenizer` trains will have; 0 where it is not asked for."""
    wanted = Wanted.parse(spec)
    return wanted.size if wanted else 0


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


def _wanted(spec: str) -> Wanted | None:
    """What is to be trained; None where `spec` names something else."""
    return Wanted("bpe", DEFAULT_SIZE) if spec == AUTO else Wanted.parse(spec)


def _trained(wanted: Wanted, corpus: Corpus, root: Path) -> Tokenizer:
    digest = sha256(repr((_FORMAT, TRAINING_BYTES, corpus.key, str(wanted))).encode()).hexdigest()
    target = root / "tokenizers" / digest[:32]
    if target.exists():
        try:
            return load_tokenizer(target)
        except InputError:
            discard(target)
    with built_whole(target) as folder:
        texts = _head(corpus.documents("train"))
        if wanted.kind == "bpe":
            tokenizer = train_bpe(texts, wanted.size, progress=sys.stderr.isatty())
        else:
            tokenizer = train_sentence_piece(texts, wanted)
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
