"""The library's own architectures as the rules see them."""

from typing import Any

from torch import Tensor

from tmt.layers.cache import State
from tmt.model.base import LanguageModel
from tmt.model.config import TMTConfig
from tmt.model.golf_config import GolfConfig
from tmt.model.transformer_config import TransformerConfig
from tmt.verify.subject import NotOfferedError, Subject

EDGES = ("local_window", "graph_block", "exact_until", "kernel_length", "kernel_head", "loop_start")
"""Fields of configurations at whose values code takes another path."""


class Native(Subject):
    """Any :class:`tmt.model.base.LanguageModel`."""

    module: LanguageModel

    def __init__(self, model: LanguageModel, name: str):
        self.module, self.name, self.config = model, name, model.config
        self.vocab_size, self.longest = self.config.vocab_size, self.config.longest
        self.edges = tuple(
            edge for field in EDGES if isinstance(edge := getattr(self.config, field, None), int)
        )
        if isinstance(self.config, TMTConfig) and self.config.keep_shares:
            self.trains_causally = "while it trains for a depth, the gates keep a share of the whole text"

    def logits(self, tokens: Tensor, lengths: Tensor | None = None, side: str = "right") -> Tensor:
        """See :class:`Subject`."""
        return self._of(self.module(tokens, lengths=lengths, padding_side=side, return_diagnostics=False))

    def read(self, tokens: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """See :class:`Subject`."""
        if getattr(self.config, "stream_memory", False):
            raise NotOfferedError("its memory learns from call to call: reading in pieces is meant to differ")
        options = dict(lengths=lengths, return_state=True, return_diagnostics=False)
        output = self.module(tokens, state, **options)
        if output.state is None:
            raise NotOfferedError("it keeps no decoding state: it writes by reading the text again")
        return self._of(output), output.state

    def reordered(self, state: State, rows: Tensor) -> tuple[Tensor, ...]:
        """See :class:`Subject`."""
        return tuple(tensor[rows] for tensor in state)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """See :class:`Subject`."""
        return self.module(tokens, targets=targets).loss

    def embedded(self, tokens: Tensor) -> Tensor:
        """See :class:`Subject`."""
        return self.module.embed(tokens).unflatten(0, tokens.shape)

    def logits_of(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """See :class:`Subject`."""
        self.module.embed = lambda tokens: embedded.flatten(0, 1)
        try:
            return self.logits(tokens)
        finally:
            del self.module.embed

    def moved(self, tokens: Tensor, origin: int) -> Tensor:
        """See :class:`Subject`."""
        absolute = _absolute(self.config)
        if absolute is not None:
            raise NotOfferedError(absolute)
        self.module.origin = origin
        try:
            return self.logits(tokens)
        finally:
            del self.module.origin

    @staticmethod
    def _of(output: Any) -> Tensor:
        return output.logits


def _absolute(config: Any) -> str | None:
    """What reads positions, not distances; None where nothing does."""
    if isinstance(config, TMTConfig):
        if config.channel_decay:
            return "channel_decay=True scales channels by the position"
        if config.exits and config.exit_gate != "learned":
            return f"exit_gate={config.exit_gate} decides by the position"
        return None
    if isinstance(config, (TransformerConfig, GolfConfig)):
        return None
    return "it turns nothing by positions"
