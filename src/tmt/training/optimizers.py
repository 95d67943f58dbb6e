"""Who is trained by what: Muon for the matrices of the blocks, AdamW for the rest."""

from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW, Optimizer

from tmt.config import OptimConfig
from tmt.training.muon import Muon

SMALLEST_MATRIX = 16
"""A matrix with a shorter side (a gate, say) has no spectrum worth orthogonalising."""

VECTORS = ("bias", ".local.weight", "passes")
"""Ends of the names of parameters that hold several vectors (a bias a head, a filter tap, a pass), no map."""


@dataclass
class Group:
    """Parameters that share an optimiser and its settings."""

    name: str
    optimizer: str
    lr: float
    weight_decay: float
    parameters: list[nn.Parameter]


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[Group]:
    """Every trained parameter in exactly one group: matrices of blocks, embeddings, and the small ones."""
    small_lr = config.adamw_lr if config.small_lr is None else config.small_lr
    groups = [
        Group("matrices", config.optimizer, config.lr, config.weight_decay, []),
        Group("embeddings", "adamw", config.adamw_lr, config.weight_decay, []),
        Group("gains, biases, gates, kernels", "adamw", small_lr, config.small_decay, []),
    ]
    for name, parameter in model.named_parameters():
        if is_small(name, parameter):
            groups[2].parameters.append(parameter)
        elif name.startswith("blocks."):
            groups[0].parameters.append(parameter)
        else:
            groups[1].parameters.append(parameter)
    return [group for group in groups if group.parameters]


def is_small(name: str, parameter: nn.Parameter) -> bool:
    """Whether a model's parameter is a gain, bias, gate or kernel rather than a matrix or an embedding.

    What makes a kernel over positions is one, whatever its size, and so are biases and filters a channel,
    however many vectors they hold: no decay pulls on them, and they have no spectrum.
    """
    if ".kernel." in name or name.endswith(VECTORS):
        return True
    return parameter.dim() != 2 or min(parameter.shape) < SMALLEST_MATRIX


def build_optimizers(groups: list[Group], config: OptimConfig) -> list[Optimizer]:
    """The optimisers of the groups; every param group remembers its peak rate as "peak_lr"."""
    optimizers: list[Optimizer] = []
    for kind in ("muon", "adamw"):
        settings = [
            dict(params=g.parameters, lr=g.lr, peak_lr=g.lr, weight_decay=g.weight_decay)
            for g in groups
            if g.optimizer == kind
        ]
        if settings and kind == "muon":
            choices = dict(equal_rows=config.equal_rows, orthogonaliser=config.orthogonaliser)
            optimizers.append(Muon(settings, momentum=config.momentum, **choices))
        elif settings:
            optimizers.append(AdamW(settings, betas=(config.beta1, config.beta2), eps=config.eps, fused=True))
    return optimizers


def describe(groups: list[Group]) -> list[str]:
    """One line a group: what it holds and what trains it."""
    return [
        f"{group.name}: {sum(p.numel() for p in group.parameters):,} parameters in "
        f"{len(group.parameters)} tensors, {group.optimizer}, lr {group.lr:g}, decay {group.weight_decay:g}"
        for group in groups
    ]
