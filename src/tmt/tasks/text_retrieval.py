"""Retrieval from text: look a name up among lines read before, byte by byte."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from tmt.model.checks import require, require_positive
from tmt.tasks.task import Batch, Task, draw_distinct, draw_symbols, power_of_two_below, unscored

LETTERS = 26
BYTES = 256


@dataclass(frozen=True)
class TextRetrieval(Task):
    """Read lines `name=value;`, then give the values of some of their names; right is the whole value."""

    lines: int = 16
    """Lines to read, of distinct names and independent values."""
    queries: int = 4
    """Lines that come again after them, in random order."""
    name_letters: int = 2
    """Letters a–z of a name."""
    value_letters: int = 3
    """Letters a–z of a value."""

    grouped_by: ClassVar[str] = "distance in bytes, power of two"

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "lines", "queries", "name_letters", "value_letters")
        require(
            self.queries <= self.lines, self, "queries", f"exceeds lines={self.lines}; each is asked once"
        )
        names = LETTERS**self.name_letters
        require(self.lines <= names, self, "lines", f"exceeds the {names} names of name_letters letters")

    @property
    def vocab_size(self) -> int:
        """Every byte."""
        return BYTES

    @property
    def length(self) -> int:
        """Bytes of all lines."""
        return (self.lines + self.queries) * self.line_length

    @property
    def line_length(self) -> int:
        """Bytes of a line."""
        return self.name_letters + self.value_letters + 2

    @property
    def chance(self) -> float:
        """A guess among the values."""
        return LETTERS**-self.value_letters

    @property
    def answer_length(self) -> int:
        """Letters of a value."""
        return self.value_letters

    def draw(self, generator: Generator, count: int) -> Batch:
        """See :class:`Task`; the values of the last lines are scored."""
        numbers = draw_distinct(generator, LETTERS**self.name_letters, count, self.lines)
        names = _spell(numbers, self.name_letters)
        values = draw_symbols(generator, LETTERS, count, self.lines, self.value_letters) + ord("a")
        equals, end = (names.new_full((count, self.lines, 1), ord(mark)) for mark in "=;")
        lines = torch.cat([names, equals, values, end], 2)
        asked = draw_distinct(generator, self.lines, count, self.queries)
        queries = lines[torch.arange(count)[:, None], asked]
        tokens = torch.cat([lines, queries], 1)
        targets, group = unscored(tokens)
        value = slice(self.name_letters, -2)  # from the equals sign on
        targets[:, self.lines :, value] = queries[:, :, self.name_letters + 1 : -1]
        distance = (torch.arange(self.lines, self.lines + self.queries) - asked) * self.line_length
        group[:, self.lines :, value] = power_of_two_below(distance)[:, :, None]
        return Batch(tokens.flatten(1), targets.flatten(1), group.flatten(1))

    def solve(self, tokens: Tensor) -> Tensor:
        """The value of the first line of the same name, from the equals sign on."""
        lines = tokens.unflatten(1, (-1, self.line_length))
        names = lines[:, :, : self.name_letters]
        same = (names[:, :, None] == names[:, None]).all(3)
        earlier = same.tril(-1).long().argmax(2)
        found = lines[torch.arange(len(lines), device=lines.device)[:, None], earlier]
        answer = torch.zeros_like(lines)
        answer[:, self.lines :, self.name_letters : -2] = found[:, self.lines :, self.name_letters + 1 : -1]
        return answer.flatten(1)

    def count(self, tokens: Tensor) -> Tensor:
        """The value of the first line that no query before asked for: lines are counted, not matched."""
        lines = tokens.unflatten(1, (-1, self.line_length))
        read, queries = lines[:, : self.lines], lines[:, self.lines :]
        asked = (queries[:, :, None] == read[:, None]).all(3).long()
        before = asked.cumsum(1) - asked
        first = before.argmin(2)
        found = read[torch.arange(len(lines), device=lines.device)[:, None], first]
        answer = torch.zeros_like(lines)
        answer[:, self.lines :, self.name_letters : -2] = found[:, :, self.name_letters + 1 : -1]
        return answer.flatten(1)


def _spell(numbers: Tensor, letters: int) -> Tensor:
    """(…) numbers below 26^letters to (…, letters) bytes a–z."""
    places = LETTERS ** torch.arange(letters - 1, -1, -1)
    return numbers[..., None] // places % LETTERS + ord("a")
