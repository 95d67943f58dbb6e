"""How far two results are apart, and where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """Numbers that a rule wants to be zero, of one comparison."""

    sizes: Tensor
    """(N,), at least one."""
    words: Callable[[int], str]
    """What differs there, by the index of a number; for the report when it is too large."""

    @property
    def size(self) -> float:
        """The largest."""
        return float(self.sizes.max())

    @property
    def where(self) -> str:
        """What differs most."""
        return self.words(int(self.sizes.argmax()))

    def least(self, other: Self) -> Self:
        """What differs in this comparison and in the same one made again."""
        return replace(self, sizes=torch.minimum(self.sizes, other.sizes))


def number(size: float, where: str = "") -> Difference:
    """A single one; NaN is infinitely far."""
    return Difference(torch.tensor([float(size)]).double().nan_to_num(nan=torch.inf), lambda _: where)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """|a − b|; two NaNs or equal infinities are the same, a NaN against a number is infinitely far."""
    same = (a == b) | (a.isnan() & b.isnan())
    return (a - b).abs().masked_fill(same, 0).nan_to_num(nan=torch.inf, posinf=torch.inf)


def farthest(a: Tensor, b: Tensor, words: Callable[[int, int], str], first: int = 0) -> Iterator[Difference]:
    """The largest difference of logits (B, T, V) at every position; `words(row, position)` says where it is.

    Nothing where there is nothing to compare. `first` is the position of the first column.
    """
    if a.numel() == 0:
        return
    length = a.shape[1]
    told = lambda index: words(index // length, index % length + first)
    yield Difference(distance(a, b).amax(-1).flatten().double(), told)
