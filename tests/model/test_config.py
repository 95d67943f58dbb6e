"""Configurations: published fields, refused values, presets."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from tmt.model import ARCHITECTURES, architecture, build_model
from tmt.model.config import TMTConfig
from tmt.model.transformer import TransformerConfig

PUBLISHED = dict(
    vocab_size=32000,
    max_seq_len=1024,
    d_model=512,
    n_heads=8,
    n_layers=12,
    graph_k=8,
    decay_rate=0.1,
    exit_threshold=0.85,
    dual_stream=True,
    ffn_stream_dim=256,
    memory_anchors=16,
    dropout=0.1,
    layer_norm_eps=1e-5,
)

INVALID_ANYWHERE = [
    ("vocab_size", dict(vocab_size=0)),
    ("max_seq_len", dict(max_seq_len=0)),
    ("d_model", dict(d_model=0)),
    ("d_model", dict(d_model=100, n_heads=8)),
    ("n_heads", dict(n_heads=0)),
    ("n_heads", dict(d_model=24, n_heads=8)),
    ("n_layers", dict(n_layers=0)),
    ("dropout", dict(dropout=1.0)),
    ("dropout", dict(dropout=-0.1)),
    ("layer_norm_eps", dict(layer_norm_eps=0.0)),
]

INVALID_MESH = [
    ("ffn_stream_dim", dict(ffn_stream_dim=0)),
    ("graph_k", dict(graph_k=-1)),
    ("graph_k", dict(graph_k=65, max_seq_len=64)),
    ("local_window", dict(local_window=0)),
    ("local_window", dict(local_window=65, max_seq_len=64)),
    ("routing_dim", dict(routing_dim=-1)),
    ("graph_block", dict(graph_block=0)),
    ("k_global", dict(k_global=-1)),
    ("exact_until", dict(exact_until=-1)),
    ("rebuild_every", dict(rebuild_every=0)),
    ("anneal_steps", dict(anneal_steps=-1)),
    ("dense_layers", dict(dense_layers=(12,))),
    ("dense_layers", dict(dense_layers=(0, -1))),
    ("decay_rate", dict(decay_rate=0.0)),
    ("decay_horizon", dict(decay_horizon=0)),
    ("exit_threshold", dict(exit_threshold=-0.1)),
    ("exit_threshold", dict(exit_threshold=1.1)),
    ("target_depth", dict(target_depth=0.2)),
    ("target_depth", dict(target_depth=0.25)),
    ("target_depth", dict(target_depth=1.1)),
    ("target_depth", dict(target_depth=0.5, entry_layers=6)),
    ("entry_layers", dict(entry_layers=0)),
    ("landing_layers", dict(landing_layers=-1)),
    ("memory_anchors", dict(memory_anchors=-1)),
    ("memory_momentum", dict(memory_momentum=1.0)),
    ("memory_momentum", dict(memory_momentum=-0.1)),
    ("graph", dict(graph="knnn")),
    ("edge_similarity", dict(edge_similarity="dot")),
    ("decay", dict(decay="distanse")),
    ("exit_objective", dict(exit_objective="budgets")),
    ("exit_gate", dict(exit_gate="lerned")),
    ("exited_kv", dict(exited_kv="drop")),
    ("stream_inputs", dict(stream_inputs="both")),
]


def test_published_fields_and_defaults():
    config = TMTConfig()
    assert {name: getattr(config, name) for name in PUBLISHED} == PUBLISHED
    assert TMTConfig(**PUBLISHED) == config


@pytest.mark.parametrize(("field", "overrides"), INVALID_ANYWHERE)
@pytest.mark.parametrize("config", [TMTConfig, TransformerConfig])
def test_a_bad_value_is_refused_by_name(config: type, field: str, overrides: dict):
    with pytest.raises(ValueError, match=f"^{field}="):
        config(**overrides)


@pytest.mark.parametrize(("field", "overrides"), INVALID_MESH)
def test_a_bad_mesh_value_is_refused_by_name(field: str, overrides: dict):
    with pytest.raises(ValueError, match=f"^{field}="):
        TMTConfig(**overrides)


def test_a_bad_width_of_the_transformer_is_refused():
    with pytest.raises(ValueError, match=r"^ffn_dim="):
        TransformerConfig(ffn_dim=0)


def test_the_reason_is_given():
    with pytest.raises(ValueError, match=r"d_model=100 is not divisible by n_heads=8"):
        TMTConfig(d_model=100)
    with pytest.raises(ValueError, match=r"target_depth=0\.1 must be in \[0\.25, 1\].*entry_layers"):
        TMTConfig(target_depth=0.1)


def test_the_edges_of_the_ranges_are_accepted():
    TMTConfig(graph_k=64, local_window=64, max_seq_len=64)
    TMTConfig(graph_k=0, memory_anchors=0, k_global=0, exact_until=0, dense_layers=tuple(range(12)))
    TMTConfig(exit_threshold=1.0, target_depth=1.0)
    assert TMTConfig(n_layers=3, target_depth=1.0).exits is False
    assert TMTConfig(entry_layers=0, landing_layers=0, exit_objective="none").exits is False


@pytest.mark.parametrize(("entry", "landing", "layers"), [(1, 1, 4), (2, 1, 12), (1, 0, 5), (2, 2, 5)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.8, 1.0])
def test_keep_shares_fall_and_meet_the_target(entry: int, landing: int, layers: int, share: float):
    middle = layers - entry - landing
    target = (entry + landing + share * middle) / layers
    config = TMTConfig(n_layers=layers, entry_layers=entry, landing_layers=landing, target_depth=target)
    shares = config.keep_shares
    assert len(shares) == middle
    assert sum(shares) == pytest.approx(share * middle)
    assert all(0 < s <= 1 + 1e-12 for s in shares)
    assert all(b <= a + 1e-12 for a, b in pairwise(shares))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_unknown_preset_gets_the_nearest_name(name: str):
    with pytest.raises(ValueError, match=r"unknown preset 'smal'; did you mean small"):
        ARCHITECTURES[name].config.preset("smal")


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match=r"unknown architecture 'transformr'; did you mean transformer"):
        architecture("transformr")
    with pytest.raises(ValueError, match=r"unknown tmt model field 'graph_kk'; did you mean graph_k"):
        architecture("tmt").configure("nano", {"graph_kk": 3})


def count(name: str, preset: str, **overrides) -> int:
    with torch.device("meta"):
        return build_model(name, ARCHITECTURES[name].configure(preset, overrides)).param_count()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("preset", "millions"), [("small", 16), ("medium", 60), ("base", 120), ("large", 350)]
)
def test_presets_have_the_size_they_are_called_by(name: str, preset: str, millions: int):
    assert count(name, preset, vocab_size=50257) == pytest.approx(millions * 1e6, rel=0.05)


@pytest.mark.parametrize("preset", ["nano", "small", "medium", "base", "large"])
def test_architectures_of_one_preset_are_of_one_size(preset: str):
    assert count("tmt", preset) == pytest.approx(count("transformer", preset), rel=0.02)


def test_the_printed_configuration_is_half_of_what_was_printed():
    config = TMTConfig.paper()
    shared = {name: value for name, value in PUBLISHED.items() if name != "vocab_size"}
    assert {name: getattr(config, name) for name in shared} == shared
    assert config.vocab_size == 50257
    small = dataclasses.replace(config, vocab_size=64, n_layers=1)
    layer = build_model("tmt", dataclasses.replace(small, n_layers=2)).param_count()
    one = build_model("tmt", small).param_count()
    total = one + 11 * (layer - one) + (50257 - 64) * 512
    assert 40e6 < total < 61e6


def test_shared_parameters_count_once():
    tied, untied = (count("transformer", "nano", tie_embeddings=tie) for tie in (True, False))
    assert untied - tied == 4096 * 192


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TMTConfig().d_model = 3
