"""`tmt data`: what a corpus holds and how it splits, tokenised and kept for training."""

import json
from typing import Any

from rich.table import Table

from tmt.commands.report import PlainConsole, tell
from tmt.evaluate.text_size import bytes_of, text_bytes
from tmt.options.data import DataOptions
from tmt.tokens import (
    Tokenizer,
    TokenSplits,
    require_new_shards,
    trained_size,
    write_shards,
)


def data(options: DataOptions) -> None:
    """Run the command."""
    source = options.config.open()
    if options.shards is not None:
        require_new_shards(options.shards, trained_size(options.tokenizer))
    tokenizer = source.tokenizer(options.tokenizer)
    if options.shards is not None:
        require_new_shards(options.shards, tokenizer.vocab_size)
    splits = source.tokens(tokenizer)
    if options.shards is not None:
        write_shards(splits, tokenizer, options.shards, source.name)
    for line in splits.notes:
        tell(line)
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
    PlainConsole().print(table)
