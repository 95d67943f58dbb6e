"""What is timed: a series of rows, one a length, of something of ours against a peer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Direction = Literal["forward", "forward_backward", "decode", "train"]

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """What the tables measure, and for how long."""

    lengths: tuple[int, ...]
    """Tokens per sequence; tokens of context before a decoding step."""
    dtypes: tuple[Precision, ...]
    """Of the tensors of an op; of the products of a model (autocast)."""
    batch: int
    """Sequences."""
    arch: str | None
    """The one architecture of the model tables; None: all of them."""
    preset: str
    """Size of the models."""
    only: str
    """Only the series whose name contains this."""
    seconds: float
    """Timing budget of a row."""
    device: torch.device


@dataclass(frozen=True)
class Pair:
    """The two calls of one row."""

    ours: Callable[[], object]
    peer: Callable[[], object]
    tokens: int
    """Tokens that each call works on."""
    flops: float | None = None
    """Operations of one call of ours, where they are known before it runs."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the row should say."""


@dataclass(frozen=True)
class Series:
    """One thing of ours against one peer, in one direction and number format, at any length."""

    name: str
    impl: str
    peer: str
    direction: Direction
    dtype: Precision
    at: Callable[[int], Pair]
    """The calls at a length; may take long."""
    check: Callable[[], None] = lambda: None
    """Raises InputError where ours is wrong; it is then not timed."""
