"""Data sets of the Hugging Face hub, streamed: never downloaded or loaded whole."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from tmt.errors import InputError, reason
from tmt.text.corpus import Corpus, Split, SplitCorpus, StreamCorpus
from tmt.text.documents import accepted, documents_of
from tmt.text.faults import Row, missing_field, text_of
from tmt.text.reading import Reading
from tmt.text.splits import HELD_OUT, RULES_VERSION, bounded, in_first_half
from tmt.text.tally import Tally
from tmt.text.wikitext import articles

if TYPE_CHECKING:
    from datasets import IterableDataset

DEFAULT_MAX_BYTES = 2**30
"""UTF-8 bytes taken of a hub data set where the user sets no `max_bytes`."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")


@dataclass(frozen=True)
class HubSource:
    """Where a data set lives and whether its rows are single lines of WikiText articles."""

    path: str
    config: str | None = None
    lines_of_articles: bool = False


ALIASES: dict[str, HubSource] = {
    "wikitext-2": HubSource("Salesforce/wikitext", "wikitext-2-raw-v1", lines_of_articles=True),
    "wikitext-103": HubSource("Salesforce/wikitext", "wikitext-103-raw-v1", lines_of_articles=True),
    "c4": HubSource("allenai/c4", "en"),
    "tinystories": HubSource("roneneldan/TinyStories"),
}


def open_hub(name: str, reading: Reading) -> Corpus:
    """The data set behind an alias or `owner/name[:config]`.

    Its own splits are used. Where one held-out split exists, `valid` and `test` are halves of it (by
    the hash of each document); where none exists, 5 % each, settled by a pass of its own. `max_bytes`
    (1 GiB unless set) bounds the whole: 90 % of it for `train`, 5 % for `valid` and for `test`.

    Raises:
        InputError: `datasets` is not installed, the hub cannot be reached or knows no such data set.
    """
    source = ALIASES.get(name) or _parse(name)
    limit = DEFAULT_MAX_BYTES if reading.max_bytes is None else reading.max_bytes
    streams, revision = _connect(name, source)
    key = sha256(repr((RULES_VERSION, source, revision, reading, limit)).encode()).hexdigest()
    if "train" not in streams:
        raise InputError(f"data set {name!r} has no train split, only: {', '.join(streams)}")

    tallies: dict[str, Tally] = {}

    def read_all(split: str, tally: Tally, keep: Callable[[str], bool] | None = None) -> Iterator[str]:
        tallies[split] = tally
        documents = _stream(streams[split], f"data set {name!r}", source, reading, tally)
        return filter(keep, documents) if keep else documents

    def read(split: str, share: float, keep: Callable[[str], bool] | None = None) -> Iterator[str]:
        return bounded(read_all(split, Tally(), keep), int(share * limit))

    def notes() -> list[str]:
        return [f"{split}: {line}" for split, tally in tallies.items() for line in tally.lines(reading)]

    held_out = _held_out(streams)
    if not held_out:
        return StreamCorpus(name, key, lambda tally: bounded(read_all("train", tally), limit), reading)
    readers: dict[Split, Callable[[], Iterator[str]]] = {"train": partial(read, "train", 1 - 2 * HELD_OUT)}
    if len(held_out) == 2:
        readers["valid"] = partial(read, held_out[0], HELD_OUT)
        readers["test"] = partial(read, held_out[1], HELD_OUT)
    else:
        readers["valid"] = partial(read, held_out[0], HELD_OUT, in_first_half)
        readers["test"] = partial(read, held_out[0], HELD_OUT, lambda text: not in_first_half(text))
    return SplitCorpus(name, key, readers, notes)


def _parse(name: str) -> HubSource:
    path, _, config = name.partition(":")
    return HubSource(path, config or None, lines_of_articles=path.endswith("/wikitext"))


def _held_out(available: Collection[str]) -> list[str]:
    """The data set's validation split, then its test split, where it has them."""
    valid = [split for split in ("validation", "valid", "val", "dev") if split in available]
    return valid[:1] + [split for split in ("test",) if split in available]


def _connect(name: str, source: HubSource) -> "tuple[dict[str, IterableDataset], str | None]":
    """The streams of a data set by split, and its revision where the hub tells it."""
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"data set {name!r} needs the hub client: "
            'pip install "temporalmesh-transformer[data]"; or give a local file'
        ) from None
    try:
        builder = datasets.load_dataset_builder(source.path, source.config)
        streams = cast("dict[str, IterableDataset]", builder.as_streaming_dataset())
        return {str(split): rows for split, rows in streams.items()}, builder.hash
    except Exception as error:  # the client raises whatever its transport raises
        raise InputError(
            f"cannot open hub data set {name!r} ({source.path}): {reason(error)}; "
            "check the name and the network, or give a local file"
        ) from error


def _stream(
    rows: "IterableDataset", where: str, source: HubSource, reading: Reading, tally: Tally
) -> Iterator[str]:
    texts = _texts(rows, where, reading.text_field)
    if source.lines_of_articles:
        texts = articles(accepted(texts, reading, tally))
    return documents_of(texts, reading, tally)


def _texts(rows: "IterableDataset", where: str, text_field: str) -> Iterator[Row]:
    iterator, number = iter(rows), 0
    while (row := _next_row(iterator, where)) is not None:
        number += 1
        if text_field not in row:
            raise missing_field(where, text_field, list(row))
        yield text_of(row[text_field], f"{where}, row {number}")


def _next_row(iterator: Iterator[dict[str, Any]], where: str) -> dict[str, Any] | None:
    try:
        return next(iterator, None)
    except Exception as error:  # as above: anything a transport or a parser raises
        raise InputError(f"{where}: reading failed: {reason(error)}") from error
