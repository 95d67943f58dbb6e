"""What a model multiplies its matrices with: second moments of their inputs on training text."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from tmt.model.base import IGNORE, LanguageModel


@dataclass(frozen=True)
class Calibration:
    """What the training text says of a model."""

    hessians: dict[str, Tensor]
    """``Σ x xᵀ`` (n, n) float32 on the CPU by the name of the weight (m, n); none for a weight that met no
    input."""
    nats: float
    """Mean loss on that text."""
    tokens: int


def head_weight(model: LanguageModel) -> str:
    """Name of the matrix that makes the logits."""
    return "embedding.weight" if model.config.tie_embeddings else "head.weight"


def calibrate(model: LanguageModel, batches: Iterable[tuple[Tensor, Tensor]]) -> Calibration:
    """Run a model in eval mode over batches of inputs and targets (B, T) and watch its linear layers.

    A layer that runs several times adds up all its inputs, one that tokens left early those that came. The
    input of the head is what the norm before it gives out last.
    """
    moments = _Moments(head_weight(model))
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and module is not model.head:
                watch = module.register_forward_pre_hook(moments.of_input(f"{name}.weight"))
                hooks.callback(watch.remove)
        for watch in (
            model.norm.register_forward_hook(moments.remember),
            model.register_forward_hook(moments.of_head),
        ):
            hooks.callback(watch.remove)
        nats, tokens = _run(model, tqdm(batches, desc="calibrating", unit="batch", disable=None))
    found = {name: total.cpu() for name, total in moments.totals.items() if total.any()}
    return Calibration(found, nats / max(tokens, 1), tokens)


def mean_loss(model: LanguageModel, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Nats a token over such batches."""
    nats, tokens = _run(model, batches)
    return nats / max(tokens, 1)


@torch.no_grad()
def _run(model: LanguageModel, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, int]:
    """Nats of all targets together, and their number."""
    device = next(model.parameters()).device
    nats, tokens = 0.0, 0
    for inputs, targets in batches:
        output = model(inputs.to(device), targets=targets.to(device), return_diagnostics=False)
        nats += float(output.nll.double().sum())
        tokens += int((targets != IGNORE).sum())
    return nats, tokens


class _Moments:
    """Sums of ``xᵀ x``. Layers that read the same tensor, one after another, share the product."""

    def __init__(self, head: str) -> None:
        self.totals: dict[str, Tensor] = {}
        self._head = head
        self._normed = self._last = self._moment = torch.empty(0)

    def of_input(self, name: str) -> Callable[[nn.Module, Any], None]:
        """A hook before a layer whose weight has that name."""
        return lambda module, arguments: self._add(name, arguments[0])

    def remember(self, module: nn.Module, arguments: Any, output: Tensor) -> None:
        """A hook after the norm, which a model may use more than once."""
        self._normed = output

    def of_head(self, module: nn.Module, arguments: Any, output: Any) -> None:
        """A hook after the model."""
        self._add(self._head, self._normed)

    def _add(self, name: str, x: Tensor) -> None:
        if x is not self._last:
            rows = x.reshape(-1, x.shape[-1]).float()
            self._last, self._moment = x, rows.T @ rows
        if name in self.totals:
            self.totals[name] += self._moment
        else:
            self.totals[name] = self._moment.clone()
