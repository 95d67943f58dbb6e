"""Learning in context: rules that hold within one sequence only, and must be read off it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from tmt.model.checks import require, require_positive
from tmt.tasks.task import Batch, Task, draw_distinct, draw_symbols, following, unscored


@dataclass(frozen=True)
class Labels(Task):
    """Label symbols by a random map of this sequence, as its earlier (symbol, label) pairs show it."""

    symbols: int = 16
    """Different symbols."""
    labels: int = 4
    """Different labels."""
    pairs: int = 32
    """Pairs in a sequence, of independent uniform symbols."""

    grouped_by: ClassVar[str] = "earlier occurrences"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "symbols", "labels")
        require(self.pairs >= 2, self, "pairs", "must be at least 2: the first is not scored")

    @property
    def vocab_size(self) -> int:
        """The symbols, then the labels."""
        return self.symbols + self.labels

    @property
    def length(self) -> int:
        """Two tokens a pair."""
        return 2 * self.pairs

    @property
    def chance(self) -> float:
        """A guess among the labels."""
        return 1 / self.labels

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the label of a symbol that came before is scored."""
        rule = draw_symbols(generator, self.labels, count, self.symbols) + self.symbols
        symbols = draw_symbols(generator, self.symbols, count, self.pairs)
        labels = rule.gather(1, symbols)
        tokens = torch.stack([symbols, labels], 2).flatten(1)
        same = symbols[:, :, None] == symbols[:, None]
        earlier = same.tril(-1).sum(2)
        targets, group = unscored(tokens)
        targets[:, ::2] = torch.where(earlier > 0, labels, targets[:, ::2])
        group[:, ::2] = earlier
        return Batch(tokens, targets, group)

    def solve(self, tokens: Tensor) -> Tensor:
        """What followed the symbol before."""
        return following(tokens)


@dataclass(frozen=True)
class Induction(Task):
    """Complete a random bigram that comes again and again among other symbols (Olsson et al., 2022)."""

    symbols: int = 64
    """Different symbols."""
    length: int = 64
    """Tokens of a sequence."""
    repeats: int = 4
    """Occurrences of the bigram; its first symbol stands nowhere else."""

    grouped_by: ClassVar[str] = "earlier occurrences"

    def __post_init__(self):
        """Validate every field."""
        require(self.symbols >= 2, self, "symbols", "must be at least 2")
        require(self.repeats >= 2, self, "repeats", "must be at least 2: the first is not scored")
        require(self.length >= 2 * self.repeats, self, "length", f"has no room for {self.repeats} bigrams")

    @property
    def vocab_size(self) -> int:
        """The symbols."""
        return self.symbols

    @property
    def chance(self) -> float:
        """A guess among the symbols other than the bigram's first."""
        return 1 / (self.symbols - 1)

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the second symbol of every bigram but the first one is scored."""
        first = draw_symbols(generator, self.symbols, count, 1)
        shift = draw_symbols(generator, self.symbols - 1, count, self.length + 1) + 1
        others = (first + shift) % self.symbols
        tokens, second = others[:, 1:], others[:, :1]
        gaps = draw_distinct(generator, self.length - self.repeats, count, self.repeats).sort(1).values
        starts = gaps + torch.arange(self.repeats)  # distinct by two: bigrams do not overlap
        tokens = tokens.scatter(1, starts, first.expand_as(starts))
        tokens = tokens.scatter(1, starts + 1, second.expand_as(starts))
        targets, group = unscored(tokens)
        targets = targets.scatter(1, starts[:, 1:], second.expand_as(starts[:, 1:]))
        occurrences = torch.arange(1, self.repeats).expand(count, -1)
        return Batch(tokens, targets, group.scatter(1, starts[:, 1:], occurrences))

    def solve(self, tokens: Tensor) -> Tensor:
        """What followed the symbol before."""
        return following(tokens)
