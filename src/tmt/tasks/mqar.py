"""Retrieval by key: multi-query associative recall (Arora et al., 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from tmt.model.checks import require, require_positive
from tmt.tasks.task import Batch, Task, counts, draw_distinct, draw_symbols, following, unscored


@dataclass(frozen=True)
class MQAR(Task):
    """Give the value of each key that comes again: pairs first, then queries scattered among blanks."""

    n_keys: int = 64
    """Different keys; their ids come first."""
    n_values: int = 64
    """Different values; the blank follows them."""
    pairs: int = 8
    """Keys k in a sequence, each once with its value and once as a query."""
    length: int = 64
    """Tokens of a sequence."""
    power: float = 0.01
    """Exponent a of the queries' places: the i-th place after the pairs is taken ∝ i^(a−1)."""

    grouped_by: ClassVar[str] = "pairs"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "n_keys", "n_values", "pairs")
        require(self.pairs <= self.n_keys, self, "pairs", f"exceeds n_keys={self.n_keys}; they are distinct")
        require(
            self.length >= 3 * self.pairs, self, "length", f"has no room for {self.pairs} pairs and queries"
        )

    @property
    def vocab_size(self) -> int:
        """Keys, values and the blank."""
        return self.n_keys + self.n_values + 1

    @property
    def chance(self) -> float:
        """A guess among the values."""
        return 1 / self.n_values

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the target at a query is its key's value, which is not inserted after it."""
        keys = draw_distinct(generator, self.n_keys, count, self.pairs)
        values = draw_symbols(generator, self.n_values, count, self.pairs) + self.n_keys
        blank = keys.new_full((count, self.length - 2 * self.pairs), self.n_keys + self.n_values)
        tokens = torch.cat([torch.stack([keys, values], 2).flatten(1), blank], 1)
        places = self._places(generator, count)
        tokens.scatter_(1, places, keys)
        targets, group = unscored(tokens)
        return Batch(tokens, targets.scatter(1, places, values), group.scatter(1, places, self.pairs))

    def _places(self, generator: Generator, count: int) -> Tensor:
        """(count, pairs) distinct positions after the pairs, in random order."""
        weights = torch.arange(1, self.length - 2 * self.pairs + 1).double() ** (self.power - 1)
        places = torch.multinomial(weights.expand(count, -1), self.pairs, generator=generator)
        shuffled = draw_distinct(generator, self.pairs, count, self.pairs)
        return places.gather(1, shuffled) + 2 * self.pairs

    def solve(self, tokens: Tensor) -> Tensor:
        """What followed the key at its only earlier occurrence."""
        return following(tokens)

    def count(self, tokens: Tensor) -> Tensor:
        """The value that came most often."""
        values = slice(self.n_keys, self.n_keys + self.n_values)
        return counts(tokens, self.vocab_size)[:, :, values].argmax(2) + self.n_keys
