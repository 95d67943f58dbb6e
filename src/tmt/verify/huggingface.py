"""Causal language models of `transformers` as the rules see them, each with its own cache."""

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tmt.layers.rows import rolled
from tmt.verify.subject import NotOfferedError, Subject

CACHES = ("cache", "past_key_values", "cache_params", "state")
"""Names by which models take a cache and return it, in one release or another."""
LENGTHS = ("max_position_embeddings", "n_positions")


@dataclass
class _State:
    cache: Any
    mask: Tensor
    """(B, S) int64, 1 where a token of the past is no padding."""


class HuggingFace(Subject):
    """A `transformers.PreTrainedModel` with a head of a causal language model."""

    def __init__(self, model: Any, name: str):
        self.module, self.name = model, name
        self.config = model.config
        self.vocab_size = self.config.vocab_size
        limits = [getattr(self.config, field, None) for field in LENGTHS]
        self.longest = next((limit for limit in limits if limit), None)
        window = getattr(self.config, "sliding_window", None)
        self.edges = (window,) if window else ()
        takes = inspect.signature(model.forward).parameters
        self.cache_name = next((cache for cache in CACHES if cache in takes), None)
        self.takes = frozenset(takes)

    def logits(self, tokens: Tensor, lengths: Tensor | None = None, side: str = "right") -> Tensor:
        """See :class:`Subject`."""
        return self._run(tokens, None if lengths is None else _mask(tokens, lengths, side)).logits

    def moved(self, tokens: Tensor, origin: int) -> Tensor:
        """See :class:`Subject`."""
        if getattr(self.config, "rope_parameters", None) is None and not getattr(
            self.config, "rope_theta", None
        ):
            raise NotOfferedError("no rotary positions are configured: relative positions are not claimed")
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens) + origin
        return self._call(input_ids=tokens, position_ids=positions).logits

    def read(self, tokens: Tensor, state: Any = None, lengths: Tensor | None = None) -> tuple[Tensor, Any]:
        """See :class:`Subject`: prompts of other lengths are padded on the left, as these caches need it."""
        if self.cache_name is None:
            raise NotOfferedError("it takes no cache")
        new = torch.ones_like(tokens)
        if lengths is not None:
            if state is not None:
                raise NotOfferedError("only prompts may differ in length")
            tokens = rolled(tokens, tokens.shape[1] - lengths)
            new = _mask(tokens, lengths, "left")
        mask = new if state is None else torch.cat([state.mask, new], 1)
        recurrent = getattr(self.module, "_is_stateful", False)  # there is no past to mask in such a state
        seen = new if recurrent else mask
        output = self._run(tokens, seen, {} if state is None else {self.cache_name: state.cache}, keep=True)
        logits = output.logits
        if lengths is not None:
            logits = rolled(logits, lengths - tokens.shape[1])
        return logits, _State(getattr(output, self.cache_name), mask)

    def fork(self, state: _State) -> _State:
        """See :class:`Subject`: these caches are changed in place; a copy is to be made first."""
        return copy.deepcopy(state)

    def reordered(self, state: _State, rows: Tensor) -> _State:
        """See :class:`Subject`."""
        if not hasattr(state.cache, "reorder_cache"):
            raise NotOfferedError("its cache cannot be reordered")
        state.cache.reorder_cache(rows)
        return _State(state.cache, state.mask[rows])

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """See :class:`Subject`: labels stand at their own positions, behind what predicts them."""
        one = tokens[:, :1]
        labels = torch.cat([torch.full_like(one, -100), targets], 1)
        return self._call(input_ids=torch.cat([tokens, one], 1), labels=labels).loss

    def embedded(self, tokens: Tensor) -> Tensor:
        """See :class:`Subject`."""
        return self.module.get_input_embeddings()(tokens)

    def logits_of(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """See :class:`Subject`."""
        return self._call(inputs_embeds=embedded).logits

    def _run(
        self, tokens: Tensor, mask: Tensor | None, cache: dict[str, Any] | None = None, keep: bool = False
    ):
        if mask is None or bool(mask.all()):
            return self._call(input_ids=tokens, use_cache=keep, **(cache or {}))
        if "attention_mask" not in self.takes:
            raise NotOfferedError("it takes no attention mask")
        options = dict(attention_mask=mask, use_cache=keep, **(cache or {}))
        if "position_ids" in self.takes:
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            options["position_ids"] = positions[:, -tokens.shape[1] :]
        return self._call(input_ids=tokens, **options)

    def _call(self, **options: Any) -> Any:
        return self.module(**{"use_cache": False, **options})


def _mask(tokens: Tensor, lengths: Tensor, side: str) -> Tensor:
    place = torch.arange(tokens.shape[1], device=tokens.device)
    valid = place < lengths[:, None]
    return (valid if side == "right" else valid.flip(1)).long()
