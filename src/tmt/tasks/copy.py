"""Copying: repeat a sequence after a separator, at a fixed lag, at a variable one, or with gaps removed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tmt.model.checks import require, require_positive
from tmt.tasks.task import Batch, Task, draw_symbols, unscored

LAG_BUCKET = 16
"""Lags of a selective copy are counted in buckets of so many tokens."""


@dataclass(frozen=True)
class Copy(Task):
    """Repeat random symbols after a separator; the lag never changes, one tap of a filter solves it."""

    symbols: int = 64
    """Different symbols."""
    half: int = 32
    """Symbols to repeat."""

    grouped_by: ClassVar[str] = "length"
    default_steps: ClassVar[int] = 400

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "symbols", "half")

    @property
    def vocab_size(self) -> int:
        """The symbols and the separator."""
        return self.symbols + 1

    @property
    def length(self) -> int:
        """Both halves and the separator."""
        return 2 * self.half + 1

    @property
    def chance(self) -> float:
        """A guess among the symbols."""
        return 1 / self.symbols

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the second half is scored."""
        half = draw_symbols(generator, self.symbols, count, self.half)
        separator = half.new_full((count, 1), self.symbols)
        tokens = torch.cat([half, separator, half], 1)
        targets, group = unscored(tokens)
        targets[:, self.half : -1] = half
        group[:, self.half : -1] = self.half
        return Batch(tokens, targets, group)

    def solve(self, tokens: Tensor) -> Tensor:
        """The token `half` positions ago."""
        return F.pad(tokens[:, : -self.half], (self.half, 0))

    def count(self, tokens: Tensor) -> Tensor:
        """The symbol of which most are still to come."""
        return _still_to_come(tokens, self.symbols)


@dataclass(frozen=True)
class VariableCopy(Task):
    """Repeat random symbols after a separator, of a length that differs between sequences; then padding."""

    symbols: int = 64
    """Different symbols."""
    shortest: int = 16
    """Fewest symbols to repeat."""
    longest: int = 32
    """Most symbols to repeat; every length between is as likely."""

    grouped_by: ClassVar[str] = "length"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "symbols", "shortest")
        require(self.longest >= self.shortest, self, "longest", f"is below shortest={self.shortest}")

    @property
    def vocab_size(self) -> int:
        """The symbols, the separator and the padding."""
        return self.symbols + 2

    @property
    def length(self) -> int:
        """Both copies of the longest, and the separator."""
        return 2 * self.longest + 1

    @property
    def chance(self) -> float:
        """A guess among the symbols."""
        return 1 / self.symbols

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the second copy is scored."""
        symbols = draw_symbols(generator, self.symbols, count, self.longest)
        length = draw_symbols(generator, self.longest - self.shortest + 1, count, 1) + self.shortest
        position = torch.arange(self.length).expand(count, -1)
        source = torch.where(position < length, position, position - length - 1)
        tokens = symbols.gather(1, source.clamp(0, self.longest - 1))
        tokens = torch.where(position > 2 * length, self.symbols + 1, tokens)
        tokens = torch.where(position == length, self.symbols, tokens)
        targets, group = unscored(tokens)
        scored = (position >= length) & (position < 2 * length)
        targets = torch.where(scored, tokens.roll(-1, 1), targets)
        return Batch(tokens, targets, torch.where(scored, length, group))

    def solve(self, tokens: Tensor) -> Tensor:
        """The token as far from the start as the current one is from the separator."""
        position = torch.arange(tokens.shape[1], device=tokens.device)
        separator = torch.where(tokens == self.symbols, position, 0).cummax(1).values
        return tokens.gather(1, position - separator)

    def count(self, tokens: Tensor) -> Tensor:
        """The symbol of which most are still to come."""
        return _still_to_come(tokens, self.symbols)


@dataclass(frozen=True)
class SelectiveCopy(Task):
    """Repeat after a separator the symbols that stand scattered among blanks (Gu and Dao, 2023)."""

    symbols: int = 64
    """Different symbols."""
    marked: int = 16
    """Symbols to repeat."""
    blanks: int = 64
    """Blanks among them."""

    grouped_by: ClassVar[str] = "lag"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "symbols", "marked")
        require(self.blanks >= 0, self, "blanks", "must not be negative")

    @property
    def vocab_size(self) -> int:
        """The symbols, the separator and the blank."""
        return self.symbols + 2

    @property
    def length(self) -> int:
        """Symbols and blanks, the separator, and the symbols again."""
        return 2 * self.marked + self.blanks + 1

    @property
    def chance(self) -> float:
        """A guess among the symbols."""
        return 1 / self.symbols

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the symbols after the separator are scored."""
        symbols = draw_symbols(generator, self.symbols, count, self.marked)
        mixed = self.marked + self.blanks
        places = torch.rand(count, mixed, generator=generator).topk(self.marked).indices.sort(1).values
        tokens = symbols.new_full((count, mixed), self.symbols + 1).scatter(1, places, symbols)
        tokens = torch.cat([tokens, symbols.new_full((count, 1), self.symbols), symbols], 1)
        targets, group = unscored(tokens)
        targets[:, mixed:-1] = symbols
        lags = torch.arange(mixed, mixed + self.marked) - places
        group[:, mixed:-1] = lags // LAG_BUCKET * LAG_BUCKET
        return Batch(tokens, targets, group)

    def solve(self, tokens: Tensor) -> Tensor:
        """The symbols before the separator, in order, from the separator on."""
        mixed = self.marked + self.blanks
        blank = (tokens[:, :mixed] > self.symbols).long()
        order = blank.argsort(dim=1, stable=True)[:, : self.marked]
        answer = torch.zeros_like(tokens)
        answer[:, mixed:-1] = tokens.gather(1, order)
        return answer

    def count(self, tokens: Tensor) -> Tensor:
        """The symbol of which most are still to come."""
        return _still_to_come(tokens, self.symbols)


def _still_to_come(tokens: Tensor, symbols: int) -> Tensor:
    """(B, T): the symbol that came most often before the separator, its occurrences after it taken away."""
    sign = 1 - 2 * (tokens == symbols).cumsum(1)
    read = F.one_hot(tokens, symbols + 2)[:, :, :symbols]
    return (read * sign[:, :, None]).cumsum(1).argmax(2)
