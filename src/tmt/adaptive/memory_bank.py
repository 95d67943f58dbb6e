"""The TMT's memory anchors as a part: the bank follows what was scored, as it followed training."""

from collections.abc import Mapping
from typing import Any

import torch

from tmt.adaptive.part import Chunk, Part
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.model.model import TMTModel
from tmt.training.distributed import Ranks


class MemoryBank(Part):
    """Blends the tokens of every scored chunk into the anchors they attended to, without gradients.

    A chunk counts as one step of training: a bank that moves faster drifts away from what the weights expect.
    """

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
        """Blend once; every rank reads some of the windows."""
        if chunk.last:
            return
        bank, inputs = self._bank, torch.from_numpy(chunk.ids[:-1])
        count, total = torch.zeros_like(bank.count), torch.zeros_like(bank.total)
        for tokens in inputs.split(self._window)[ranks.rank :: ranks.size]:
            own_count, own_total = self._model.memory_use(tokens[None].to(count.device))
            count += own_count
            total += own_total
        bank.count, bank.total = bank.blend(bank.count, bank.total, ranks.sum(count), ranks.sum(total))

    def state(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {"count": self._bank.count, "total": self._bank.total}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        self._bank.load_state_dict(dict(state))

    def figures(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {"anchors_in_use": self._bank.usage(), "anchor_rank": self._bank.effective_rank()}
