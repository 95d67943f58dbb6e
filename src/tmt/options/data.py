"""The options of `tmt data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.config import DataConfig
from tmt.options import Options


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Tokenise a corpus into the cache, show its splits, and write them as token files for other programs."""

    data: str = "sotu"
    """Corpus, as in tmt train."""
    text_field: str = "text"
    """Field of JSON, CSV and parquet files that holds the text."""
    max_bytes: int | None = None
    """Read at most this many bytes of text."""
    separator: str | None = None
    """What parts documents wherever it stands; default: lines <|endoftext|> and form feeds in text files."""
    on_bad_row: Literal["stop", "skip", "replace"] = "stop"
    """At a row without text or not in UTF-8: stop, leave it out, or replace what is not UTF-8."""
    follow_links: bool = False
    """Also read what links in a folder point to outside of it."""
    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N (SentencePiece), sp:N:nfkc (the record's, which rewrites text), a tokenizer file, or
    hf:NAME; auto: that of the token files, for text bpe:4096, or as many as it yields."""
    shards: Path | None = None
    """Folder to write token files to, of uint16 in the format of the speed runs and of parameter golf, and
    the tokenizer; --data takes the folder."""
    json: bool = False
    """One JSON object a split instead of a table."""

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        self.config.check()

    @property
    def config(self) -> DataConfig:
        """Where the tokens come from."""
        return DataConfig(
            source=self.data,
            text_field=self.text_field,
            max_bytes=self.max_bytes,
            separator=self.separator,
            on_bad_row=self.on_bad_row,
            follow_links=self.follow_links,
            tokenizer=self.tokenizer,
        )
