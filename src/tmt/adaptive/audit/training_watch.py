"""Does anything learn what it may not know yet? Steps, weights, and the tokens that training reads."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tmt.model.base import LanguageModel


def telltale_stream(length: int, vocab_size: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Tokens that come for the first time at even distances: knowing one tells how much was read.

    Between them earlier ones return; with a vocabulary of `length` or more, none does.
    """
    newest = np.arange(length) * min(vocab_size, length) // length
    ranks = np.where(np.diff(newest, prepend=-1) > 0, newest, random.integers(0, newest + 1))
    return random.permutation(vocab_size)[ranks]


class TrainingWatch:
    """Watches a model, its weights, and every optimiser as long as its context lasts.

    Attributes:
        steps: of optimisers.
        readings: forward passes with gradients.
        distinct: different tokens of the stream.
        early: what happened before its time, in words.
    """

    def __init__(self, model: LanguageModel, stream: npt.NDArray[np.int64]):
        self.steps = self.readings = 0
        self.early: list[str] = []
        self._model = model
        tokens, places = np.unique(stream, return_index=True)
        self.distinct = len(tokens)
        self._first = np.full(model.config.vocab_size, len(stream))  # the place where each token comes first
        self._first[tokens] = places
        self._booked = 0
        self.shut()

    def __enter__(self) -> None:
        """Begin."""
        self._hooks = [
            register_optimizer_step_pre_hook(self._on_step),
            self._model.register_forward_pre_hook(self._on_forward, with_kwargs=True),
        ]

    def __exit__(self, *_: object) -> None:
        """End."""
        for hook in self._hooks:
            hook.remove()

    def open(self, booked: int) -> None:
        """From here on anything may learn: so many more targets are booked."""
        now = self._model.state_dict()
        if now.keys() != self._weights.keys() or any(
            not torch.equal(now[name], copy) for name, copy in self._weights.items()
        ):
            self.early.append(f"the model's weights change {self._when}")
        self._booked += booked
        self._open = True

    def shut(self) -> None:
        """From here on nothing may learn."""
        self._open = False
        self._weights = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}

    def _on_step(self, optimizer: Optimizer, *_: Any) -> None:
        self.steps += 1
        if not self._open:
            self.early.append(f"an optimiser steps {self._when}")

    def _on_forward(self, model: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        if not torch.is_grad_enabled():
            return
        self.readings += 1
        read = [*inputs[:1], options.get("tokens"), options.get("targets")]
        tokens = torch.cat([x.flatten() for x in read if x is not None]).cpu().numpy()
        furthest = self._first[tokens[tokens >= 0]].max()
        if furthest > self._booked:
            self.early.append(f"training reads the token of position {furthest} {self._when}")

    @property
    def _when(self) -> str:
        return f"when {self._booked} targets are booked"
