"""Tokenise a corpus once and keep the result."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tmt.errors import InputError
from tmt.text import SPLITS, Corpus, Part
from tmt.tokens.shards import SHARD_TOKENS, Shard, ShardWriter, id_dtype
from tmt.tokens.stream import TokenStream
from tmt.tokens.tokenizer import Tokenizer
from tmt.user_cache import built_whole, cache_root, discard

BATCH_CHARACTERS = 2**20
_FORMAT = 3
_MANIFEST = "manifest.json"
_COUNTS = ("documents", "bytes", "kept")


@dataclass(frozen=True)
class TokenSplits:
    """A tokenised corpus. Each document is the separator's id followed by the ids of its text.

    Attributes:
        train, valid, test: the tokens of each split; `test` is `valid` where there is no test split.
            Streams know the raw bytes of each token where the tokenizer rewrites text.
        all: the whole text, in the order of its source, where that was asked for; None elsewhere.
        documents: number of documents of every split that there is.
        bytes: UTF-8 bytes of the raw text per split; empty where only tokens are known.
        kept: how many of them the tokens can spell; empty likewise.
        notes: what a reader should know of how the text was read, a line each.
    """

    train: TokenStream
    valid: TokenStream
    test: TokenStream
    documents: Mapping[Part, int]
    bytes: Mapping[Part, int]
    kept: Mapping[Part, int]
    notes: Sequence[str] = ()
    all: TokenStream | None = None

    @cached_property
    def key(self) -> str:
        """Hexadecimal digest of the tokens of all splits and of the files they lie in."""
        digest = sha256()
        for split in SPLITS:
            for shard in getattr(self, split).shards:
                digest.update(f"{split} {len(shard.tokens)} {shard.tokens.dtype} ".encode())
                digest.update(shard.tokens.data)
        return digest.hexdigest()


def prepare(corpus: Corpus, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> TokenSplits:
    """The tokens of `corpus`; built on first use and kept by content.

    Builds in a folder of its own and puts it in place at the end, so an interrupted or failed build
    leaves nothing; a damaged one is built again. A progress bar goes to stderr where that is a terminal.

    Args:
        corpus: the documents.
        tokenizer: what cuts them.
        cache_dir: where to keep the result (default: see :func:`tmt.user_cache.cache_root`).

    Raises:
        InputError: a source cannot be read, a split has no documents, or the cache cannot be written.
    """
    return _prepared(corpus, tokenizer, cache_dir, SPLITS)


def prepare_whole(corpus: Corpus, tokenizer: Tokenizer, cache_dir: str | Path | None = None) -> TokenSplits:
    """The tokens of all of `corpus` as one stream, `all`, which stands for every split too.

    Args: see :func:`prepare`. One document is enough.

    Raises:
        InputError: a source cannot be read, or the cache cannot be written.
    """
    return _prepared(corpus, tokenizer, cache_dir, ("all",))


def _prepared(
    corpus: Corpus, tokenizer: Tokenizer, cache_dir: str | Path | None, parts: Sequence[Part]
) -> TokenSplits:
    digest = sha256(repr((_FORMAT, corpus.key, tokenizer.key, *parts)).encode()).hexdigest()
    target = cache_root(cache_dir) / "tokens" / digest[:32]
    if target.exists():
        try:
            return _open(target, corpus.listing, parts)
        except InputError:
            discard(target)
    with built_whole(target) as folder:
        _build(corpus, tokenizer, folder, parts)
    return _open(target, corpus.listing, parts)


def _open(folder: Path, listing: str, parts: Sequence[Part]) -> TokenSplits:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        streams = {part: _stream(folder, manifest, part) for part in parts}
        whole = streams.get("all")
        train, valid, test = (streams[split] if whole is None else whole for split in SPLITS)
        counts = {name: manifest[name] for name in _COUNTS}
        notes = [*filter(None, [listing]), *manifest["notes"]]
        return TokenSplits(train, valid, test, **counts, notes=notes, all=whole)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot use the prepared tokens in {folder}: {error}") from error


def _stream(folder: Path, manifest: dict[str, dict[str, list[str]]], part: Part) -> TokenStream:
    ids, raw_bytes = (
        [Shard.open(folder / name) for name in manifest[kind][part]] for kind in ("shards", "raw_bytes")
    )
    return TokenStream(ids, TokenStream(raw_bytes) if raw_bytes else None)


def _labelled(corpus: Corpus, parts: Sequence[Part]) -> Iterator[tuple[Part, str]]:
    """Every document with the part that it belongs to."""
    if "all" in parts:
        return (("all", document) for document in corpus.whole())
    for split in SPLITS:
        if next(corpus.documents(split), None) is None:
            raise InputError(
                f"the {split} split of corpus {corpus.name!r} has no documents; give it more text"
            )
    return iter(corpus.labelled())


def _build(corpus: Corpus, tokenizer: Tokenizer, folder: Path, parts: Sequence[Part]) -> None:
    labelled = _labelled(corpus, parts)
    writers = {part: _SplitWriter(folder, part, tokenizer) for part in parts}
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc=f"tokenising {corpus.name}", unit="B", unit_scale=True, disable=None)
        )
        for writer in writers.values():
            stack.callback(writer.close)
        for batch in _batches(labelled):
            texts = [text for _, text in batch]
            for (part, text), ids in zip(batch, tokenizer.encode_batch(texts), strict=True):
                bar.update(writers[part].add(text, ids))
    manifest = {
        "corpus": corpus.name,
        "shards": {part: writers[part].ids.names for part in parts},
        "raw_bytes": {part: writers[part].raw_bytes.names for part in parts},
        **{name: {part: getattr(writers[part], name) for part in parts} for name in _COUNTS},
        "notes": list(corpus.notes()),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def _batches(labelled: Iterable[tuple[Part, str]]) -> Iterator[list[tuple[Part, str]]]:
    """Lists of documents of about `BATCH_CHARACTERS` in all: many at once encode in parallel."""
    batch: list[tuple[Part, str]] = []
    size = 0
    for part, text in labelled:
        batch.append((part, text))
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _SplitWriter:
    """The tokens of one part, and their raw bytes where the tokenizer does not tell them."""

    def __init__(self, folder: Path, part: Part, tokenizer: Tokenizer) -> None:
        self.ids = _Files(folder, part, id_dtype(tokenizer.vocab_size))
        self.raw_bytes = _Files(folder, f"{part}_bytes", np.dtype(np.uint16))
        self.documents = self.bytes = self.kept = 0
        self._tokenizer = tokenizer

    def add(self, text: str, ids: list[int]) -> int:
        """Store one document; returns the UTF-8 bytes of its text."""
        size = len(text.encode())
        self.ids.add([self._tokenizer.eot_id, *ids])
        if self._tokenizer.rewrites_text:
            self.raw_bytes.add(self._tokenizer.raw_byte_counts(text, ids))
        self.documents += 1
        self.bytes += size
        self.kept += self._tokenizer.kept_bytes(text)
        return size

    def close(self) -> None:
        """Finish the open files, if any."""
        self.ids.close()
        self.raw_bytes.close()


class _Files:
    """A row of numbers in files; a new one is begun when the last is full."""

    def __init__(self, folder: Path, stem: str, dtype: np.dtype) -> None:
        self.names: list[str] = []
        self._folder = folder
        self._stem = stem
        self._dtype = dtype
        self._open: ShardWriter | None = None

    def add(self, document: npt.ArrayLike) -> None:
        """Store the numbers of one document."""
        numbers = np.asarray(document, dtype=self._dtype)
        self._shard().start_document()
        while numbers.size:
            shard = self._shard()
            room = SHARD_TOKENS - shard.count
            shard.append(numbers[:room])
            numbers = numbers[room:]

    def close(self) -> None:
        """Finish the open file, if any."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _shard(self) -> ShardWriter:
        if self._open is not None and self._open.count >= SHARD_TOKENS:
            self.close()
        if self._open is None:
            self.names.append(f"{self._stem}_{len(self.names):06d}.bin")
            self._open = ShardWriter(self._folder / self.names[-1], self._dtype)
        return self._open
