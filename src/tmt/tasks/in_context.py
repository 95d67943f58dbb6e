"""Learning in context: rules that hold within one sequence only, and must be read off it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tmt.model.checks import require, require_positive
from tmt.tasks.task import Batch, Task, counts, draw_distinct, draw_symbols, following, unscored


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

    def count(self, tokens: Tensor) -> Tensor:
        """The label that came most often."""
        return counts(tokens, self.vocab_size)[:, :, self.symbols :].argmax(2) + self.symbols


@dataclass(frozen=True)
class Induction(Task):
    """Complete a random bigram that comes again and again among other symbols (Olsson et al., 2022).

    After every occurrence each decoy comes once, before the next, and others come at random: whoever counts
    symbols cannot tell the bigram's second one from a decoy.
    """

    symbols: int = 64
    """Different symbols."""
    length: int = 64
    """Tokens of a sequence."""
    repeats: int = 4
    """Occurrences of the bigram; its symbols stand nowhere else."""
    decoys: int = 7
    """Symbols that come once after every occurrence of the bigram."""

    grouped_by: ClassVar[str] = "earlier occurrences"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "symbols", "length")
        require(self.decoys >= 0, self, "decoys", "must not be negative")
        require(self.repeats >= 2, self, "repeats", "must be at least 2: the first is not scored")
        needed = 2 + self.decoys + (self._others > 0)
        require(
            self._others >= 0, self, "length", f"has no room for {self.repeats} bigrams, decoys={self.decoys}"
        )
        require(
            self.symbols >= needed, self, "symbols", f"must be at least {needed} with decoys={self.decoys}"
        )

    @property
    def _others(self) -> int:
        """Tokens that are no part of a bigram and no decoy."""
        return self.length - self.repeats * (2 + self.decoys)

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
        drawn = draw_distinct(generator, self.symbols, count, self.symbols)
        first, second, decoys, rest = drawn.split([1, 1, self.decoys, self.symbols - self.decoys - 2], dim=1)
        others = draw_symbols(generator, max(1, rest.shape[1]), count, self._others)
        tokens = torch.cat(
            [
                first.expand(-1, self.repeats),
                second.expand(-1, self.repeats),
                decoys.repeat(1, self.repeats),
                rest.gather(1, others),
            ],
            1,
        )
        order = self._times(generator, count).argsort(dim=1, stable=True)
        tokens, place = tokens.gather(1, order), order.argsort(1)
        starts = place[:, : self.repeats]
        targets, group = unscored(tokens)
        targets = targets.scatter(1, starts[:, 1:], second.expand(-1, self.repeats - 1))
        occurrences = torch.arange(1, self.repeats).expand(count, -1)
        return Batch(tokens, targets, group.scatter(1, starts[:, 1:], occurrences))

    def _times(self, generator: Generator, count: int) -> Tensor:
        """(count, length) float64: when firsts, seconds, decoys and others come; equal ones in that order."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator, dtype=torch.double)

        bigrams = uniform(self.repeats).sort(1).values
        gaps = F.pad(bigrams, (0, 1), value=1.0).diff()
        within = bigrams[:, :, None] + gaps[:, :, None] * uniform(self.repeats, self.decoys)
        return torch.cat([bigrams, bigrams, within.flatten(1), uniform(self._others)], 1)

    def solve(self, tokens: Tensor) -> Tensor:
        """What followed the symbol before."""
        return following(tokens)

    def count(self, tokens: Tensor) -> Tensor:
        """A symbol that came once less than the current one."""
        came = counts(tokens, self.symbols)
        missing = came.gather(2, tokens[:, :, None]) - 1 - came
        return missing.abs().argmin(2)
