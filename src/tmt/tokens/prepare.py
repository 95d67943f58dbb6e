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
from tmt.text import SPLITS, Corpus, Split
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
        documents: number of documents of every split that there is.
        bytes: UTF-8 bytes of the raw text per split; empty where only tokens are known.
        kept: how many of them the tokens can spell; empty likewise.
        notes: what a reader should know of how the text was read, a line each.
    """

    train: TokenStream
    valid: TokenStream
    test: TokenStream
    documents: Mapping[Split, int]
    bytes: Mapping[Split, int]
    kept: Mapping[Split, int]
    notes: Sequence[str] = ()

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
    digest = sha256(repr((_FORMAT, corpus.key, tokenizer.key)).encode()).hexdigest()
    target = cache_root(cache_dir) / "tokens" / digest[:32]
    if target.exists():
        try:
            return _open(target, corpus.listing)
        except InputError:
            discard(target)
    with built_whole(target) as folder:
        _build(corpus, tokenizer, folder)
    return _open(target, corpus.listing)


def _open(folder: Path, listing: str) -> TokenSplits:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        train, valid, test = (_stream(folder, manifest, split) for split in SPLITS)
        counts = {name: manifest[name] for name in _COUNTS}
        notes = [*filter(None, [listing]), *manifest["notes"]]
        return TokenSplits(train, valid, test, **counts, notes=notes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot use the prepared tokens in {folder}: {error}") from error


def _stream(folder: Path, manifest: dict[str, dict[str, list[str]]], split: Split) -> TokenStream:
    ids, raw_bytes = (
        [Shard.open(folder / name) for name in manifest[kind][split]] for kind in ("shards", "raw_bytes")
    )
    return TokenStream(ids, TokenStream(raw_bytes) if raw_bytes else None)


def _build(corpus: Corpus, tokenizer: Tokenizer, folder: Path) -> None:
    for split in SPLITS:
        if next(corpus.documents(split), None) is None:
            raise InputError(
                f"the {split} split of corpus {corpus.name!r} has no documents; give it more text"
            )
    writers = {split: _SplitWriter(folder, split, tokenizer) for split in SPLITS}
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(desc=f"tokenising {corpus.name}", unit="B", unit_scale=True, disable=None)
        )
        for writer in writers.values():
            stack.callback(writer.close)
        for batch in _batches(corpus.labelled()):
            texts = [text for _, text in batch]
            for (split, text), ids in zip(batch, tokenizer.encode_batch(texts), strict=True):
                bar.update(writers[split].add(text, ids))
    manifest = {
        "corpus": corpus.name,
        "shards": {split: writers[split].ids.names for split in SPLITS},
        "raw_bytes": {split: writers[split].raw_bytes.names for split in SPLITS},
        **{name: {split: getattr(writers[split], name) for split in SPLITS} for name in _COUNTS},
        "notes": list(corpus.notes()),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def _batches(labelled: Iterable[tuple[Split, str]]) -> Iterator[list[tuple[Split, str]]]:
    """Lists of documents of about `BATCH_CHARACTERS` in all: many at once encode in parallel."""
    batch: list[tuple[Split, str]] = []
    size = 0
    for split, text in labelled:
        batch.append((split, text))
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _SplitWriter:
    """The tokens of one split, and their raw bytes where the tokenizer does not tell them."""

    def __init__(self, folder: Path, split: Split, tokenizer: Tokenizer) -> None:
        self.ids = _Files(folder, split, id_dtype(tokenizer.vocab_size))
        self.raw_bytes = _Files(folder, f"{split}_bytes", np.dtype(np.uint16))
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
