"""The TMT's memory anchors as a part: the bank follows what was scored, as in a streamed session."""

from collections.abc import Mapping
from typing import Any

import torch

from tmt.adaptive.part import Chunk, Part
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.model.model import TMTModel
from tmt.training.distributed import Ranks


class MemoryBank(Part):
    """Blends the tokens of every scored window into the anchors they attended to, without gradients."""

    name = "memory"
    reads = "the tokens of chunks whose losses are booked"

    def __init__(self, model: LanguageModel, window: int):
        """`model` is changed; InputError where it has no anchors."""
        if not isinstance(model, TMTModel) or model.memory is None:
            raise InputError("only a TMT with model.memory_anchors above 0 has a memory bank to stream")
        self._model, self._bank, self._window = model, model.memory, window

    @staticmethod
    def fits(model: LanguageModel) -> bool:
        """Whether a model has anchors."""
        return isinstance(model, TMTModel) and model.memory is not None

    @torch.no_grad()
    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        """Window by window; every rank runs them all."""
        if chunk.last:
            return
        device = self._bank.count.device
        inputs = torch.from_numpy(chunk.ids[:-1]).to(device)
        for tokens in inputs.split(self._window):
            count, total = self._bank.blend(
                self._bank.count, self._bank.total, *self._model.memory_use(tokens[None])
            )
            self._bank.count.copy_(count)
            self._bank.total.copy_(total)

    def state(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {"count": self._bank.count, "total": self._bank.total}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        self._bank.load_state_dict(dict(state))

    def figures(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {"anchors_in_use": self._bank.usage(), "anchor_rank": self._bank.effective_rank()}
