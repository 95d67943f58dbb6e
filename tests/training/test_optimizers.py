"""Who is trained by what."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from tiny_models import MIXERS, VARIANTS, tiny
from tmt.config import OptimConfig
from tmt.model import build_model
from tmt.model.golf_config import GolfConfig
from tmt.recipes import RECIPES
from tmt.training.muon import Muon
from tmt.training.optimizers import build_optimizers, describe, parameter_groups

VARIED: dict[str, dict[str, Any]] = {
    **{name: dict(variant=name) for name in (*VARIANTS, "transformer", *MIXERS)},
    "learned exits": dict(variant="plain", exit_objective="learned", target_depth=0.7),
    "untied": dict(variant="plain", tie_embeddings=False),
    "bilinear": dict(variant="plain", edge_similarity="bilinear"),
    "published": dict(
        variant="plain", routing_dim=0, exit_objective="entropy", stream_inputs="shared", dual_stream=False
    ),
}


def wide(variant: str, **overrides: Any) -> nn.Module:
    """Wide enough that the blocks have matrices to orthogonalise."""
    hidden = {} if variant in ("transformer", *MIXERS) else dict(ffn_stream_dim=16)
    return tiny(variant, d_model=32, **hidden, **overrides)


@pytest.mark.parametrize("name", VARIED)
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_parameter_is_trained_once(name: str, optimizer: str):
    model = wide(**VARIED[name])
    config = OptimConfig(optimizer=optimizer)
    groups = parameter_groups(model, config)
    grouped = [id(p) for group in groups for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    optimizers = build_optimizers(groups, config)
    trained = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(grouped)
    kinds = {Muon, AdamW} if optimizer == "muon" else {AdamW}
    assert {type(o) for o in optimizers} == kinds


@pytest.mark.parametrize("name", VARIED)
def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else(name: str):
    model = wide(**VARIED[name])
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {group.name: group for group in parameter_groups(model, OptimConfig())}
    for parameter in groups["matrices"].parameters:
        assert parameter.dim() == 2
        assert min(parameter.shape) >= 16
        assert names[id(parameter)].startswith("blocks.")
        assert ".kernel." not in names[id(parameter)]
    muon = {names[id(p)] for p in groups["matrices"].parameters}
    assert any("ffn" in name or "mlp" in name for name in muon)
    assert any("attention" in name or "mixer" in name for name in muon)
    assert "embedding.weight" in {names[id(p)] for p in groups["embeddings"].parameters}


def test_decay_and_rates_of_the_groups():
    config = OptimConfig(
        lr=0.5, adamw_lr=0.25, weight_decay=0.125, momentum=0.9, beta1=0.8, beta2=0.85, eps=1e-6
    )
    groups = parameter_groups(wide("plain"), config)
    assert [(g.optimizer, g.lr, g.weight_decay) for g in groups] == [
        ("muon", 0.5, 0.125),
        ("adamw", 0.25, 0.125),
        ("adamw", 0.25, 0.0),
    ]
    for parameter in groups[2].parameters:
        assert parameter.dim() == 1 or min(parameter.shape) < 16
    muon, adamw = build_optimizers(groups, config)
    assert muon.param_groups[0]["momentum"] == 0.9
    assert (adamw.param_groups[0]["betas"], adamw.param_groups[0]["eps"]) == ((0.8, 0.85), 1e-6)
    assert [g["peak_lr"] for o in (muon, adamw) for g in o.param_groups] == [0.5, 0.25, 0.25]


def test_groups_are_described_in_full():
    model = wide("plain")
    groups = parameter_groups(model, OptimConfig())
    lines = describe(groups)
    counts = [int(line.split(": ")[1].split(" ")[0].replace(",", "")) for line in lines]
    assert sum(counts) == sum(p.numel() for p in model.parameters())
    assert "muon, lr 0.02, decay 0.1" in lines[0]


def test_the_golf_recipe_on_the_golf_record():
    """66 matrices, the embeddings alone, and 23,850 numbers that steer."""
    config = OptimConfig(**RECIPES["golf"]["optim"])
    with torch.device("meta"):
        model = build_model("golf", GolfConfig.preset("record"))
    matrices, embeddings, small = parameter_groups(model, config)
    assert len(matrices.parameters) == 6 * 11
    assert embeddings.parameters == [model.embedding.weight]
    assert (matrices.lr, matrices.weight_decay) == (0.022, 0.095)
    assert (embeddings.lr, embeddings.weight_decay) == (0.03, 0.095)
    assert (small.lr, small.weight_decay) == (0.02, 0.02)
    assert {parameter.dim() for parameter in small.parameters} == {1, 2, 3}
    muon, adamw = build_optimizers([matrices, embeddings, small], config)
    assert (muon.equal_rows, len(muon.coefficients)) == (True, 5)
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)
