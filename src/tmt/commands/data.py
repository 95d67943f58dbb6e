"""`tmt data`: what a corpus holds and how it splits, tokenised and kept for training."""

import json
from typing import Any

from rich.table import Table

from tmt.commands.report import PlainConsole, number, tell, tell_unspelt
from tmt.evaluate.text_size import bytes_of, raw_text_bytes, spelt_share, text_bytes
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
        _show(rows, f"{source.name}, {tokenizer.vocab_size:,} ids")
    tell_unspelt({row["split"]: row["spelt"] for row in rows})
    if "test" not in splits.documents:
        tell(f"{source.name} has no test files: the test split is the validation split")
    if options.shards is not None:
        tell(f"token files: {options.shards}")


def _rows(splits: TokenSplits, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "documents": documents,
            "tokens": len(stream),
            "bytes": text_bytes(stream, tokenizer, len(stream) - 1),
            "bytes_of": bytes_of(tokenizer),
            "raw_bytes": raw_text_bytes(stream, tokenizer, len(stream) - 1),
            "spelt": spelt_share(splits, split, tokenizer),
        }
        for split, documents in splits.documents.items()
        for stream in [getattr(splits, split)]
    ]


def _show(rows: list[dict[str, Any]], title: str) -> None:
    of = rows[0]["bytes_of"]
    more = ("raw bytes", "spelt") if of != "text" else ()
    table = Table(
        "split", "documents", "tokens", "bytes", "bytes/token", *more, title=f"{title}, bytes of {of}"
    )
    for row in rows:
        numbers = (f"{row[key]:,}" for key in ("documents", "tokens", "bytes"))
        raw = (number(row["raw_bytes"], ","), number(row["spelt"], ".1%"))[: len(more)]
        table.add_row(row["split"], *numbers, f"{row['bytes'] / row['tokens']:.3f}", *raw)
    PlainConsole().print(table)
