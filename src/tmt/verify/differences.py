"""How far two results are apart, and where."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """A number that a rule wants to be zero."""

    size: float
    where: str = ""
    """What differs, in words; for the report when it is too large."""


def distance(a: Tensor, b: Tensor) -> Tensor:
    """|a − b|; two NaNs or equal infinities are the same, a NaN against a number is infinitely far."""
    same = (a == b) | (a.isnan() & b.isnan())
    return (a - b).abs().masked_fill(same, 0).nan_to_num(nan=torch.inf, posinf=torch.inf)


def farthest(a: Tensor, b: Tensor, words: Callable[[int, int], str], first: int = 0) -> Iterator[Difference]:
    """The largest difference of logits (B, T, V); `words(row, position)` says where it is.

    Nothing where there is nothing to compare. `first` is the position of the first column.
    """
    if a.numel() == 0:
        return
    apart = distance(a, b).amax(-1)
    row, column = divmod(int(apart.argmax()), apart.shape[1])
    yield Difference(float(apart[row, column]), words(row, column + first))
