"""Folders of public token files, `NAME_train_000000.bin` beside `NAME_val_000000.bin`: read and written.

The files are those of version 1 of :mod:`tmt.tokens.shards`. Every document is the separator's id and the
ids of its text; documents run on across files. Beside `NAME_val_000000.bin` there may be
`NAME_val_bytes_000000.bin`, of the same format: the UTF-8 bytes of the raw text behind each token.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tmt.errors import InputError, reason
from tmt.text import SPLITS, Part, Split
from tmt.tokens.make import AUTO, FILES, load_tokenizer, make_tokenizer, trained_size
from tmt.tokens.prepare import TokenSplits
from tmt.tokens.shards import HEADER_BYTES, MAGIC, Shard
from tmt.tokens.stream import PublicStream, TokenStream
from tmt.tokens.tokenizer import Tokenizer

SHARD_TOKENS = 10**8
BLOCK = 2**20
MOST_IDS = 2**16

_NAMES: Mapping[Split, str] = {"train": "train", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class ShardFolder:
    """Public token files of a corpus, and the tokenizer that made them where it lies beside them."""

    name: str
    """What the user called it."""
    folder: Path
    names_splits: bool = True
    """The files are named after their splits."""

    def tokenizer(self, spec: str = AUTO) -> Tokenizer:
        """The folder's own tokenizer, or the one that `spec` names; see :func:`tmt.tokens.make_tokenizer`.

        Raises:
            InputError: there is none, it cannot be read, or it would have to be trained.
        """
        if trained_size(spec):
            raise InputError(
                f"tokenizer {spec} is trained on text, but {self.name} holds tokens: leave it out for the "
                "tokenizer in that folder, or give the file of the one that made them"
            )
        if spec != AUTO:
            return make_tokenizer(spec)
        own = self._own_tokenizer()
        if own is None:
            raise InputError(
                f"folder {self.name} holds token files, but neither {' nor '.join(FILES)}: put the "
                "tokenizer that made them there, or name its file with --tokenizer"
            )
        return own

    def tokens(self, tokenizer: Tokenizer) -> TokenSplits:
        """The token files, those of a split as one stream in the order of their names.

        Held-out files alone will do: `train` is empty then. `test` is `valid` where it has no files.

        Raises:
            InputError: a file is missing or damaged, or another tokenizer made them.
        """
        self._require_own(tokenizer)
        present: list[Split] = [split for split in SPLITS if split == "valid" or self._files(split)]
        streams = {split: self._stream(split, tokenizer) for split in present}
        documents: dict[Part, int] = {split: len(streams[split].document_starts) for split in present}
        valid = streams["valid"]
        train = streams.get("train", PublicStream([], tokenizer.eot_id))
        test = streams.get("test", valid)
        return TokenSplits(train, valid, test, documents=documents, bytes={}, kept={})

    def whole(self, tokenizer: Tokenizer) -> TokenSplits:
        """The tokens of all files as one stream, `all`, which stands for every split too.

        Raises:
            InputError: see :meth:`tokens`.
        """
        self._require_own(tokenizer)
        parts = [self._stream(split, tokenizer) for split in SPLITS if self._files(split)]
        raw_bytes = [part.raw_bytes for part in parts if part.raw_bytes is not None]
        known = TokenStream(_shards(raw_bytes)) if len(raw_bytes) == len(parts) else None
        stream = PublicStream(_shards(parts), tokenizer.eot_id, known)
        documents: dict[Part, int] = {"all": len(stream.document_starts)}
        return TokenSplits(stream, stream, stream, documents=documents, bytes={}, kept={}, all=stream)

    def _require_own(self, tokenizer: Tokenizer) -> None:
        own = self._own_tokenizer()
        if own is not None and own.key != tokenizer.key:
            raise InputError(
                f"the tokens in {self.name} were made by the tokenizer in that folder, which is not the "
                "one in use: take it, or tokens of the same tokenizer"
            )

    def _own_tokenizer(self) -> Tokenizer | None:
        return load_tokenizer(self.folder) if _has_tokenizer(self.folder) else None

    def _files(self, split: Split, kind: str = "") -> list[Path]:
        return _files(self.folder, _NAMES[split] + kind)

    def _stream(self, split: Split, tokenizer: Tokenizer) -> TokenStream:
        files, sidecars = self._files(split), self._files(split, "_bytes")
        if not files:
            raise InputError(f"folder {self.name} holds no token file *_{_NAMES[split]}_000000.bin")
        shards, raw_bytes = ([Shard.open(file) for file in group] for group in (files, sidecars))
        for file, shard in zip(files, shards, strict=True):
            largest = int(shard.tokens.max(initial=0))
            if largest >= tokenizer.vocab_size:
                raise InputError(
                    f"token file {file} holds the id {largest}, but the tokenizer has only "
                    f"{tokenizer.vocab_size} ids; name the one that made it with --tokenizer"
                )
        if not any(len(shard.tokens) for shard in shards):
            raise InputError(f"the token files *_{_NAMES[split]}_*.bin in {self.name} hold no tokens")
        if sidecars and [len(s.tokens) for s in shards] != [len(s.tokens) for s in raw_bytes]:
            raise InputError(
                f"the files *_{_NAMES[split]}_bytes_*.bin in {self.name} do not match the token files "
                "beside them; delete them or write all anew"
            )
        return PublicStream(shards, tokenizer.eot_id, TokenStream(raw_bytes) if sidecars else None)


def find_shards(source: str) -> ShardFolder | None:
    """The folder at the path `source`, if it holds public token files."""
    try:
        folder = Path(source).expanduser()
        found = bool(source) and folder.is_dir() and _public_files(folder)
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot read {source}: {reason(error)}") from None
    return ShardFolder(source, folder) if found else None


def require_new_shards(folder: Path, vocab_size: int) -> None:
    """InputError unless `folder` has neither token files nor a tokenizer, and 16 bits hold every id."""
    if vocab_size > MOST_IDS:
        raise InputError(
            f"token files hold ids of 16 bits, but the tokenizer has {vocab_size} ids; take one of at most "
            f"{MOST_IDS}"
        )
    if folder.is_dir() and (_public_files(folder) or _has_tokenizer(folder)):
        raise InputError(f"{folder} holds token files or a tokenizer already; name another folder")


def write_shards(splits: TokenSplits, tokenizer: Tokenizer, folder: Path, name: str) -> None:
    """Write public token files, and the tokenizer beside them.

    They are put in place when all are written, so that a failure leaves none. Held-out splits get the
    raw bytes of their tokens too, where the tokenizer does not tell them.

    Args:
        splits: the tokens. Where `test` is `valid`, no test files are written.
        tokenizer: what cut them.
        folder: where to; it is made.
        name: of the corpus; its last part, up to a dot, begins the names of the files.

    Raises:
        InputError: the folder holds such files already or cannot be written, or ids exceed 16 bits.
    """
    require_new_shards(folder, tokenizer.vocab_size)
    stem = re.sub(r"\W+", "-", Path(name).name.partition(".")[0]) or "tokens"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".writing-", dir=folder) as temporary:
            for split, public in _NAMES.items():
                stream: TokenStream = getattr(splits, split)
                if split == "test" and stream is splits.valid:
                    continue
                _write(stream, Path(temporary) / f"{stem}_{public}")
                if split != "train" and stream.raw_bytes is not None:
                    _write(stream.raw_bytes, Path(temporary) / f"{stem}_{public}_bytes")
            tokenizer.save(temporary)
            for path in sorted(Path(temporary).iterdir()):
                path.rename(folder / path.name)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {reason(error)}") from error


def _write(stream: TokenStream, stem: Path) -> None:
    for index, start in enumerate(range(0, len(stream), SHARD_TOKENS)):
        stop = min(start + SHARD_TOKENS, len(stream))
        header = np.zeros(HEADER_BYTES // 4, dtype="<i4")
        header[:3] = (MAGIC, 1, stop - start)
        with stem.with_name(f"{stem.name}_{index:06d}.bin").open("wb") as file:
            file.write(header.tobytes())
            for first in range(start, stop, BLOCK):
                file.write(stream[first : min(first + BLOCK, stop)].astype("<u2").tobytes())


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(rf".+_{kind}_\d+\.bin", path.name))


def _shards(streams: Iterable[TokenStream]) -> list[Shard]:
    return [shard for stream in streams for shard in stream.shards]


def _public_files(folder: Path) -> list[Path]:
    return [path for kind in _NAMES.values() for path in _files(folder, kind)]


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)
