"""How a model is packed, and what becomes of each of its tensors."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tmt.artifact.clip import widest
from tmt.artifact.hessians import head_weight
from tmt.errors import InputError
from tmt.layers.toeplitz_kernel import ExpSumKernel
from tmt.model.base import LanguageModel
from tmt.model.checks import require

Unguided = Literal["refuse", "half", "round"]
Group = Literal["matrix", "embedding"]


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """Bits, clip widths and exceptions. Raises InputError naming a bad field."""

    bits: int = 6
    """Of the matrices."""
    embed_bits: int = 8
    """Of embedding and head."""
    clip: float = 12.85
    """Standard deviations of its row at which a weight of a matrix is clipped; larger is coarser, smaller in
    bytes."""
    embed_clip: float = 20.0
    """The same of embedding and head."""
    small: int = 65536
    """A tensor of at most so many elements is kept in half precision."""
    unguided: Unguided = "refuse"
    """What becomes of larger tensors that are no weight of a linear layer."""
    lqer: int = 0
    """Rank of the correction that the three worst matrices get; 0: none."""

    def __post_init__(self):
        """Validate every field."""
        for bits_name, name in (("bits", "clip"), ("embed_bits", "embed_clip")):
            bits, width = getattr(self, bits_name), getattr(self, name)
            require(3 <= bits <= 8, self, bits_name, "must be in [3, 8]")
            limit = widest(bits)
            reason = (
                f"must be above zero and, with {bits_name}={bits}, at most {limit:g}: beyond, zeros are left"
            )
            require(0 < width <= limit, self, name, reason)
        for name in ("small", "lqer"):
            require(getattr(self, name) >= 0, self, name, "must not be negative")


@dataclass(frozen=True)
class Treatment:
    """What becomes of one tensor.

    "gptq": integers chosen for the outputs they give. "round": the nearest ones, for rows that are looked
    up, where nothing is better, and for unguided tensors. "half": float16. "exact": as it is.
    """

    method: Literal["gptq", "round", "half", "exact"]
    bits: int = 0
    width: float | None = None
    """Standard deviations at which rows are clipped; None: nowhere."""
    group: Group | None = None
    """Whose width it is."""


def treatments(
    model: LanguageModel, state: dict[str, Tensor], settings: PackSettings
) -> dict[str, Treatment]:
    """What becomes of each tensor of a model's state.

    Raises:
        InputError: a large tensor is no weight of a linear layer, or a value is not finite.
    """
    linear, lookups, precise = set(), set(), set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            linear.add(f"{name}.weight")
        elif isinstance(module, nn.Embedding):
            lookups.add(f"{name}.weight")
        elif isinstance(module, ExpSumKernel):  # a phase is its frequency times thousands of tokens
            precise |= {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
    embedding = Treatment("gptq", settings.embed_bits, settings.embed_clip, "embedding")
    result = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or name in precise:
            result[name] = Treatment("exact")
        elif not tensor.isfinite().all():
            raise InputError(f"weight {name} is not finite; train the run again from an earlier state")
        elif tensor.numel() <= settings.small:
            fits = bool(tensor.half().isfinite().all())
            result[name] = Treatment("half" if fits else "exact")
        elif name == head_weight(model):
            result[name] = embedding
        elif name in linear:
            result[name] = Treatment("gptq", settings.bits, settings.clip, "matrix")
        elif name in lookups:
            result[name] = Treatment("round", settings.embed_bits, settings.embed_clip, "embedding")
        else:
            result[name] = _unguided(name, tensor, settings)
    return result


def _unguided(name: str, tensor: Tensor, settings: PackSettings) -> Treatment:
    if settings.unguided == "refuse":
        raise InputError(
            f"tensor {name} {tuple(tensor.shape)} is large and no weight of a linear layer, so there is no "
            "Hessian for it; --unguided half keeps such tensors in half precision, --unguided round takes "
            f"--embed-bits {settings.embed_bits}"
        )
    if settings.unguided == "half" and tensor.abs().max() <= torch.finfo(torch.float16).max:
        return Treatment("half")
    return Treatment("round", settings.embed_bits)
