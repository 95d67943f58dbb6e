"""The options of `tmt tokenizer`."""

from dataclasses import dataclass
from pathlib import Path

from tmt.config import DataConfig
from tmt.options import Options


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions(Options):
    """Train or load a tokenizer, show how it cuts a text, and keep it in a folder."""

    tokenizer: str = "auto"
    """bytes, bpe:N, sp:N, sp:N:nfkc, a tokenizer file, or hf:NAME; auto: as in tmt data."""
    data: str = "sotu"
    """Corpus it is trained on, as in tmt train."""
    text: str = "We the people of the United States"
    """Text to cut."""
    out: Path | None = None
    """Folder to keep the tokenizer in."""
    json: bool = False
    """One JSON object instead of lines."""

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        DataConfig(source=self.data, tokenizer=self.tokenizer).check()
