"""Configurations of the golf transformer: sizes, shares of the depth, refused values."""

from typing import Any

import pytest
import torch
from builders import fresh_golf

from tmt.model import build_model
from tmt.model.golf_config import GolfConfig


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, 35_944_602),
        (dict(loop_start=4, loop_end=5, parallel="none"), 35_943_512),
        (dict(pass_embedding=True), 35_944_602 + 3 * 512),
        (dict(n_kv_heads=8), 35_944_602 + 11 * 2 * 256 * 512),
        (dict(tie_embeddings=False), 35_944_602 + 8192 * 512),
        (dict(unet_skips=False), 35_944_602 - 8 * 1024),
        (dict(residual_mix=False), 35_944_602 - 11 * 1024),
    ],
)
def test_the_record_has_its_published_parameters(overrides: dict[str, Any], expected: int):
    with torch.device("meta"):
        assert build_model("golf", GolfConfig.preset("record", **overrides)).param_count() == expected


@pytest.mark.parametrize("switch", ["rope_dims", "qk_gain", "xsa", "ln_scale", "softcap", "rope_length"])
def test_other_switches_have_no_parameters(switch: str):
    off = dict(rope_dims=0, qk_gain=1.0, xsa=False, ln_scale=False, softcap=0.0, rope_length=9)
    with torch.device("meta"):
        model = build_model("golf", GolfConfig.preset("record", **{switch: off[switch]}))
    assert model.param_count() == 35_944_602


def test_loops_add_nothing_but_skips():
    without = fresh_golf(loop_passes=1).state_dict()
    added = fresh_golf().state_dict().keys() - without.keys()
    assert added == {f"skips.{j}.{name}" for j in (5, 6, 7) for name in ("weight", "gate")}


@pytest.mark.parametrize(
    ("field", "overrides"),
    [
        ("n_kv_heads", dict(n_kv_heads=3)),
        ("n_kv_heads", dict(n_kv_heads=0)),
        ("rope_dims", dict(rope_dims=5)),
        ("rope_dims", dict(rope_dims=66)),
        ("rope_dims", dict(rope_dims=-2)),
        ("rope_length", dict(rope_length=0)),
        ("ffn_dim", dict(ffn_dim=0)),
        ("softcap", dict(softcap=-1.0)),
        ("loops_from", dict(loops_from=1.5)),
        ("loop_passes", dict(loop_passes=0)),
        ("loop_start", dict(loop_start=-1)),
        ("loop_end", dict(loop_start=4, loop_end=3)),
        ("loop_end", dict(loop_end=11)),
        ("loop_end", dict(loop_end=8)),
        ("parallel_from", dict(parallel_from=4)),
        ("parallel_from", dict(parallel_from=12)),
        ("activation", dict(activation="gelu")),
        ("parallel", dict(parallel="both")),
    ],
)
def test_a_bad_value_is_refused_by_name(field: str, overrides: dict[str, Any]):
    with pytest.raises(ValueError, match=f"^{field}="):
        GolfConfig(**overrides)


def test_any_depth_has_a_way():
    for layers in range(1, 40):
        config = GolfConfig(n_layers=layers)
        encoder, decoder = config.route(looped=True)
        assert sorted(set(encoder + decoder)) == list(range(layers))
        assert len(encoder) <= len(decoder) <= len(encoder) + 1
    assert GolfConfig(n_layers=5).route(looped=True) == ([0, 1, 2, 1], [2, 1, 2, 3, 4])


def test_heads_and_rotation_keep_their_shares():
    record = GolfConfig.preset("record")
    assert (record.kv_heads, record.rotated) == (4, 16)
    assert (GolfConfig(n_heads=32).kv_heads, GolfConfig(n_heads=32).rotated) == (16, 4)
    assert (GolfConfig(n_heads=1).kv_heads, GolfConfig(n_heads=512).rotated) == (1, 0)


def test_the_rotation_stretches_with_the_configured_length_alone():
    assert GolfConfig(max_seq_len=2048).rope_base == GolfConfig(max_seq_len=64).rope_base == 10000
    stretched = GolfConfig(max_seq_len=8192)
    assert stretched.rope_base == pytest.approx(10000 * 4 ** (16 / 14))
    slowest = [config.rope_base ** (-14 / 16) for config in (GolfConfig(), stretched)]
    assert slowest[0] / slowest[1] == pytest.approx(4)
