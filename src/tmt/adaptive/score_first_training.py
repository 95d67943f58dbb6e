"""Score-first training at test time: after a chunk is scored, a few steps on it, for the chunks to come.

Sun et al. 2024 name the idea; the settings are those of the parameter-golf records.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from tmt.adaptive.part import Chunk, Part
from tmt.adaptive.trainable import Weights, open_weights
from tmt.errors import InputError
from tmt.layers.pair_embedding import PairEmbedding
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

PAIR_RATE = 10
"""How much faster than the weights the embedding of pairs learns."""


@dataclass(frozen=True)
class TrainingSettings:
    """What a model learns from a chunk, and how."""

    weights: Weights = "all"
    lr: float = 0.005
    """Of the first chunk; it falls with a cosine to zero at the last."""
    epochs: int = 3
    """Times that a chunk is read."""
    batch: int = 32
    """Sequences a step, over all ranks."""
    momentum: float = 0.9
    clip: float = 1.0
    """Largest norm of a step's gradient."""
    rank: int = 8
    """Of the updates of `lora`."""
    pair_rows: int = 0
    """Rows of a :class:`PairEmbedding` that is added to the model and starts at zero; 0 for none."""

    def __post_init__(self) -> None:
        """Raise InputError for a value out of range."""
        for name in ("epochs", "batch", "rank"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} of the training at test time must be >= 1")
        for name in ("lr", "momentum", "pair_rows"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} of the training at test time must be >= 0")


class ScoreFirstTraining(Part):
    """Trains the model itself by SGD on windows side by side, with plain cross-entropy."""

    name = "training"
    reads = "the tokens of chunks whose losses are booked"

    def __init__(self, model: LanguageModel, settings: TrainingSettings, window: int):
        """`model` is changed; `window` is the length of a training sequence."""
        self._model, self._settings, self._window = model, settings, window
        self._weights = open_weights(model, settings.weights, settings.rank)
        groups: list[dict[str, Any]] = [dict(params=self._weights, peak_lr=settings.lr)]
        if settings.pair_rows:
            pairs = PairEmbedding(settings.pair_rows, model.config.d_model)
            model.pairs = pairs.to(model.embedding.weight)
            groups.append(dict(params=list(model.pairs.parameters()), peak_lr=settings.lr * PAIR_RATE))
        self._optimizer = SGD(groups, lr=settings.lr, momentum=settings.momentum)
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._steps = 0

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        """Read the chunk a few times; the last one is left alone."""
        if chunk.last:
            return
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak_lr"] * (1 + math.cos(math.pi * chunk.share)) / 2
        starts = range(0, len(chunk.ids) - 1, self._window)
        rows = torch.stack([torch.from_numpy(chunk.ids[s : s + self._window + 1]) for s in starts])
        for _ in range(self._settings.epochs):
            for batch in rows.to(self._trained[0].device).split(self._settings.batch):
                self._step(batch, ranks)

    def _step(self, rows: Tensor, ranks: Ranks) -> None:
        """One step on sequences (B, window + 1), of which each rank takes some."""
        own = rows[ranks.rank :: ranks.size]
        if len(own):
            with torch.enable_grad():
                loss = self._model(own[:, :-1], targets=own[:, 1:], return_diagnostics=False).loss
            (loss * (len(own) * ranks.size / len(rows))).backward()
        ranks.average_gradients(self._trained)
        norm = clip_grad_norm_(self._trained, self._settings.clip)
        if not math.isfinite(float(norm)):
            raise InputError(
                f"training at test time diverged after {self._steps} steps: the gradient's norm is {norm}; "
                "lower its rate"
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1

    def state(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {
            "weights": [parameter.detach() for parameter in self._trained],
            "optimizer": self._optimizer.state_dict(),
            "steps": self._steps,
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """See :class:`Part`."""
        for parameter, saved in zip(self._trained, state["weights"], strict=True):
            parameter.copy_(saved)
        self._optimizer.load_state_dict(cast("dict[str, Any]", state["optimizer"]))
        self._steps = state["steps"]

    def figures(self) -> dict[str, Any]:
        """See :class:`Part`."""
        return {"steps": self._steps, "parameters": sum(p.numel() for p in self._trained)}
