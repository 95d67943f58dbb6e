"""Does anything learn before its time? The weights, by copies, and the steps of optimisers."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook


class TrainingWatch:
    """Watches the state of a model, and every optimiser as long as its context lasts.

    Attributes:
        steps: of optimisers.
        early: what happened before its time, in words.
    """

    def __init__(self, model: nn.Module):
        self.steps = 0
        self.early: list[str] = []
        self._model, self._booked, self._open = model, 0, False
        self._copy = self._copied()

    def __enter__(self) -> None:
        """Begin."""
        self._hook = register_optimizer_step_pre_hook(self._on_step)

    def __exit__(self, *_: object) -> None:
        """End."""
        self._hook.remove()

    def open(self, booked: int) -> None:
        """From here on anything may learn: so many more targets are booked."""
        self._booked += booked
        self._open = True

    def shut(self) -> None:
        """From here on nothing may learn."""
        self._open = False

    def look(self) -> bool:
        """Whether any weight or buffer is another than it was at the last look."""
        now, before = self._model.state_dict(), self._copy
        same = now.keys() == before.keys() and all(torch.equal(now[name], before[name]) for name in now)
        if not same:
            self._copy = self._copied()
            if not self._open:
                self.early.append(f"the model's weights change {self._when}")
        return not same

    def _copied(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self._model.state_dict().items()}

    def _on_step(self, optimizer: Optimizer, *_: Any) -> None:
        self.steps += 1
        if not self._open:
            self.early.append(f"an optimiser steps {self._when}")

    @property
    def _when(self) -> str:
        return f"when {self._booked} targets are booked"
