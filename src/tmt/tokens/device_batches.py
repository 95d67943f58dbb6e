"""Batches where they are computed on, the next one on its way while this one is used."""

from typing import Any, Self

import torch
from torch import Tensor

from tmt.tokens.loader import Loader

Batch = tuple[Tensor, Tensor]


class DeviceBatches:
    """The endless `(inputs, targets)` of a loader, on a device.

    With `ahead` the batch after the one that is handed out is drawn already, and copied from pinned memory
    while the device works: nobody waits for it. The state is that of the batches handed out.
    """

    def __init__(self, loader: Loader, device: torch.device, *, ahead: bool):
        self._loader, self._device, self._ahead = loader, device, ahead
        self._next: tuple[dict[str, Any], Batch] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch, int64 tensors of shape (batch_size, seq_len)."""
        if not self._ahead:
            inputs, targets = next(self._loader)
            return inputs.to(self._device), targets.to(self._device)
        _, batch = self._next or self._draw()
        self._next = self._draw()
        return batch

    def state_dict(self) -> dict[str, Any]:
        """See :class:`Loader`."""
        return self._loader.state_dict() if self._next is None else self._next[0]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :class:`Loader`."""
        self._loader.load_state_dict(state)
        self._next = None

    def _draw(self) -> tuple[dict[str, Any], Batch]:
        """A batch on its way to the device, and the state before it was drawn."""
        before = self._loader.state_dict()
        inputs, targets = (x.pin_memory().to(self._device, non_blocking=True) for x in next(self._loader))
        return before, (inputs, targets)
