"""What an optimiser of matrices gets of every architecture, at sizes where everything has long sides."""

from typing import Any

import pytest
import torch
from builders import SIZES, SWITCHES
from torch import nn

from tmt.config import OptimConfig
from tmt.model import architecture, build_model
from tmt.training.optimizers import parameter_groups

LONG: dict[str, dict[str, Any]] = {
    "transformer": dict(ffn_dim=96, n_heads=16),
    "golf": dict(ffn_dim=96, n_heads=32, n_kv_heads=16, rope_dims=0),
    "toeplitz": dict(ffn_dim=96),
    "triangular": dict(ffn_dim=96),
    "hyena": dict(ffn_dim=96, short_filter=16),
    "tmt": dict(ffn_stream_dim=48, n_heads=16, routing_dim=32),
}
MANY: list[tuple[str, dict[str, Any]]] = [
    *(("toeplitz", dict(n_heads=16, bias=bias)) for bias in ("position", "channel")),
    ("triangular", dict(n_heads=16)),
    ("golf", dict(pass_embedding=True, loop_passes=16)),
]
"""More rows of heads and passes, as many as a matrix has at least."""


def rows(arch: str) -> list[dict[str, Any]]:
    """Overrides of every row of SWITCHES and MANY; widths stay those of LONG."""
    own = LONG[arch].keys() | {"d_model"}
    return [
        {key: value for key, value in overrides.items() if key not in own}
        for name, overrides in (*SWITCHES.values(), *MANY)
        if name == arch
    ]


def maps(model: nn.Module) -> set[str]:
    """Names of the weights that map channels or tokens to channels, by what the modules are."""
    linear = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding)
    }
    return linear | {name for name, _ in model.named_parameters() if name.endswith("bilinear")}


@pytest.mark.parametrize("arch", LONG)
def test_only_maps_of_channels_are_matrices_and_decay(arch: str):
    for overrides in rows(arch):
        sizes = {**SIZES[arch], "d_model": 64, **LONG[arch], **overrides}
        with torch.device("meta"):
            model = build_model(arch, architecture(arch).config(**sizes))
        parameters = dict(model.named_parameters())
        expected = {
            key
            for key in maps(model) & parameters.keys()
            if ".kernel." not in key and min(parameters[key].shape) >= 16
        }
        groups = parameter_groups(model, OptimConfig(weight_decay=0.1, small_decay=0.0))
        decayed = {id(p) for group in groups if group.weight_decay for p in group.parameters}
        assert {key for key, p in parameters.items() if id(p) in decayed} == expected, sizes
