"""Which weights of a model learn while it is scored."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tmt.errors import InputError, unknown
from tmt.model.base import LanguageModel
from tmt.training.optimizers import is_small

Weights = Literal["all", "controls", "lora"]
SEED = 0
"""Of the random halves of low-rank updates."""


def open_weights(model: LanguageModel, weights: Weights, rank: int) -> list[nn.Parameter]:
    """Leave gradients to the chosen weights of a model only, and return them.

    Args:
        model: changed in place.
        weights: `all`; `controls`: gains, biases, gates and kernels, which no matrix optimiser trains;
            `lora`: updates of low rank to the matrices of the layers (Hu et al. 2021), zero at first.
        rank: of those updates.

    Raises:
        InputError: there is no such choice, or no matrix for that rank.
    """
    if weights not in get_args(Weights):
        raise unknown("weights", weights, get_args(Weights))
    chosen = list(model.parameters())
    if weights == "controls":
        chosen = [p for name, p in model.named_parameters() if is_small(name, p)]
    model.requires_grad_(False)
    if weights == "lora":
        chosen = _add_low_rank(model, rank)
    for parameter in chosen:
        parameter.requires_grad_()
    return chosen


class LowRank(nn.Module):
    """A matrix plus ``B A``, of which B is zero at first."""

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        rows, columns = weight.shape
        start = torch.randn(rank, columns, generator=generator) / math.sqrt(columns)
        self.a = nn.Parameter(start.to(weight))
        self.b = nn.Parameter(weight.new_zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(M, K) to (M, K)."""
        return weight + self.b @ self.a


def _add_low_rank(model: LanguageModel, rank: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(SEED)
    added: list[nn.Parameter] = []
    for module in [m for name, m in model.named_modules() if name.startswith("blocks.")]:
        if isinstance(module, nn.Linear) and min(module.weight.shape) > rank:
            update = LowRank(module.weight, rank, generator)
            parametrize.register_parametrization(module, "weight", update)
            added += [update.a, update.b]
    if not added:
        raise InputError(f"rank={rank}: no matrix of the layers has two sides above it; take a lower one")
    return added
