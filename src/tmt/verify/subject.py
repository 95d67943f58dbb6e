"""What the rules ask of a model: logits, a decoding state, a loss, and what it claims."""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor


class NotOfferedError(Exception):
    """The model does not offer what a rule needs, or does not claim what it holds; the message says which."""


class Subject(ABC):
    """A causal language model as the rules see it; one adapter for every kind of model.

    Tokens are (B, T) int64. What a subclass does not override is not offered; rules that need it say so.
    """

    name: str
    module: Any
    """The `torch.nn.Module`."""
    vocab_size: int
    longest: int | None = None
    """Tokens that it can read at most; None for no limit."""
    edges: tuple[int, ...] = ()
    """Distances and positions at which its code takes another path: windows, blocks, chunks."""
    separator: int | None = None
    """The token that begins a document, where documents in one row are kept apart."""
    trains_causally: str | None = None
    """Why it is allowed to look ahead while it trains; None where it is not."""

    @abstractmethod
    def logits(self, tokens: Tensor, lengths: Tensor | None = None, side: str = "right") -> Tensor:
        """(B, T, V); `lengths` (B,) are each row's valid tokens, the others padding on that side."""

    def embedded(self, tokens: Tensor) -> Tensor:
        """What the first layer reads of tokens (B, T): (B, T, D)."""
        raise NotOfferedError("its embedded tokens cannot be reached")

    def logits_of(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """Logits (B, T, V) of tokens whose embedding is given, with gradients."""
        raise NotOfferedError("its embedded tokens cannot be reached")

    def moved(self, tokens: Tensor, origin: int) -> Tensor:
        """Logits (B, T, V) with the first token at position `origin`."""
        raise NotOfferedError("relative positions are not claimed")

    def read(self, tokens: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """Logits (B, T, V) of tokens that come after a state, and the state after them.

        `lengths` as in :meth:`logits`, with padding on the right.
        """
        raise NotOfferedError("no decoding state is offered")

    def fork(self, state: Any) -> Any:
        """A state to go on from, when that one is to be used again."""
        return state

    def reordered(self, state: Any, rows: Tensor) -> Any:
        """The state with its rows (B,) in that order, as beam search needs it."""
        raise NotOfferedError("its state cannot be reordered")

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The model's own mean loss in nats of `targets` (B, T), −100 where nothing is scored."""
        raise NotOfferedError("no loss is offered")

    def scored(self, text: str, context: int) -> tuple[Tensor, float]:
        """Tokens (T,) of a text and the bits per byte that are reported for all of them but the first.

        They are scored in windows of `context` targets side by side.
        """
        raise NotOfferedError("no tokenizer belongs to it")

    def converted(self, dtype: torch.dtype) -> Self:
        """A copy whose floating-point weights have that type."""
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module).to(dtype)
        return other

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights; float32 for a model without any."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))
