"""Every field of the golf transformer does what its line in the configuration says."""

from itertools import chain
from typing import Any

import pytest
import torch
from builders import SIZES, build, draw_tokens
from torch import Tensor
from twins import assert_one, assert_two, logits, twin

from tmt.layers.cache import Cache
from tmt.model.golf import Golf
from tmt.model.golf_config import GolfConfig
from tmt.ops.squared_mlp import squared_leaky_relu


def logits_of(weights: Golf | None = None, **overrides: Any) -> Tensor:
    """Logits of a configuration of golf."""
    return logits(twin("golf", weights, **overrides))


def ran(model: Golf) -> list[int]:
    """Layers in the order in which they ran."""
    order: list[int] = []
    for layer, block in enumerate(model.blocks):
        block.attention.register_forward_hook(lambda *_, layer=layer: order.append(layer))
    model(draw_tokens(1, 5))
    return order


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "n_kv_heads")
def test_shared_keys_and_values_are_equal_ones():
    shared, own = build("golf", n_kv_heads=1), build("golf", n_kv_heads=2)
    assert shared.blocks[0].attention.key.weight.shape == (8, 16)
    own.load_state_dict({
        name: torch.cat([tensor, tensor]) if name.endswith(("attention.key.weight", "attention.value.weight"))
        else tensor for name, tensor in shared.state_dict().items()
    })  # fmt: skip
    assert_one(logits(own), logits(shared))
    assert build("golf").blocks[0].attention.n_kv_heads == 1


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "rope_dims", "rope_length")
def test_so_many_channels_turn_by_a_base_of_the_length():
    for dims in (0, 4, 6):
        model = build("golf", rope_dims=dims)
        attention, x = model.blocks[0].attention, torch.ones(1, 16, dtype=torch.float64)
        queries = [attention.queries(x, attention.rotation(torch.tensor([t]))) for t in (1, 7)]
        moved = (queries[0] != queries[1])[0].any(0)
        half = dims // 2
        assert moved.nonzero()[:, 0].tolist() == [*range(2 * half)]
    assert build("golf", rope_dims=None).blocks[0].attention.rope_dims == 2
    assert_one(logits_of(max_seq_len=96, rope_length=96), logits_of(max_seq_len=96, rope_length=4000))
    assert_two(logits_of(max_seq_len=96, rope_length=96), logits_of(max_seq_len=96, rope_length=3))
    assert GolfConfig(max_seq_len=4096, rope_length=1024).rope_base == pytest.approx(10000 * 4 ** (16 / 14))


@pytest.mark.shows("GolfConfig", "qk_gain", "lane_retention")
def test_gains_and_lanes_start_as_asked():
    model = Golf(GolfConfig(**{**SIZES["golf"], "qk_gain": 3.5, "lane_retention": 0.7}))
    assert all((block.attention.gain == 3.5).all() for block in model.blocks)
    assert (model.lanes.retention == 0.7).all()


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "xsa")
def test_a_head_does_not_hear_its_own_value():
    model = build("golf", n_kv_heads=2)
    assert_two(logits(model), logits_of(model, n_kv_heads=2, xsa=False))
    heard: list[Tensor] = []
    for exclusive in (True, False):
        attention = build("golf", n_kv_heads=2, xsa=exclusive).blocks[0].attention
        attention.output.register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
        attention.register_forward_pre_hook(lambda module, inputs: heard.append(module.value(inputs[0])))
        cache = Cache(draw_tokens(1, 9), None, None, keep=False)
        attention(torch.randn(9, 16, dtype=torch.float64), attention.rotation(torch.arange(9)), cache)
        value, out = (part.view(9, 2, 8) for part in heard[-2:])
        along = (value * out).sum(-1).abs()
        assert (along < 1e-9).all() == exclusive


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "ffn_dim", "activation")
@pytest.mark.parametrize(("activation", "slope"), [("leaky_relu2", 0.5), ("relu2", 0.0)])
def test_the_mlp_has_its_width_and_its_slope(activation: str, slope: float):
    mlp, x = build("golf", ffn_dim=20, activation=activation).blocks[0].mlp, torch.randn(5, 16).double()
    assert mlp.inner.weight.shape == (20, 16)
    hidden = x @ mlp.inner.weight.T
    expected = torch.where(hidden > 0, hidden, slope * hidden) ** 2 @ mlp.output.weight.T
    torch.testing.assert_close(mlp(x), expected)
    torch.testing.assert_close(squared_leaky_relu(hidden, slope) @ mlp.output.weight.T, expected)


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "ln_scale")
@pytest.mark.parametrize("scaled", [True, False])
def test_norms_are_scaled_by_the_depth(scaled: bool):
    for layer, block in enumerate(build("golf", ln_scale=scaled).blocks):
        size = block.norm(torch.randn(3, 16).double()).square().mean(-1).sqrt()
        torch.testing.assert_close(size, torch.full_like(size, (layer + 1) ** -0.5 if scaled else 1.0))


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "residual_mix")
def test_a_mix_of_the_stream_alone_is_none():
    mixed = build("golf", residual_mix=True)
    assert_two(logits(mixed), logits_of(mixed, residual_mix=False))
    for block in mixed.blocks:
        block.mix.copy_(torch.stack([torch.ones(16), torch.zeros(16)]))
    assert_one(logits(mixed), logits_of(mixed, residual_mix=False))


@pytest.mark.shows("GolfConfig", "softcap")
def test_logits_are_bounded():
    free, bounded = logits_of(softcap=0.0), logits_of(softcap=3.0)
    assert free.abs().max() > 4
    torch.testing.assert_close(bounded, 3 * torch.tanh(free / 3))


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "unet_skips")
def test_skips_feed_the_second_half():
    model = build("golf")
    assert len(model.skips) == len(model.config.route(looped=True)[0])
    assert len(build("golf", unet_skips=False).skips) == 0
    assert_two(logits(model), logits_of(model, unet_skips=False))


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "loop_start", "loop_end", "loop_passes")
@pytest.mark.parametrize(
    ("loops", "way"),
    [
        (dict(loop_start=0, loop_end=0, loop_passes=4), [0, 0, 0, 0, 1, 2, 3, 4]),
        (dict(loop_start=0, loop_end=2, loop_passes=2), [0, 1, 2, 0, 1, 2, 3, 4]),
        (dict(loop_start=1, loop_end=2, loop_passes=1), [0, 1, 2, 3, 4]),
        (dict(loop_start=2, loop_passes=3), [0, 1, 2, 2, 2, 3, 4]),
        (dict(), [0, 1, 2, 1, 2, 1, 2, 3, 4]),
    ],
)
def test_layers_run_as_often_as_asked(loops: dict, way: list[int]):
    model = build("golf", **loops)
    assert ran(model) == way == [*chain(*model.config.route(looped=True))]


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "loops_from")
@pytest.mark.parametrize("start", [0.0, 0.3, 1.0])
def test_loops_begin_at_their_share(start: float):
    model = build("golf", loops_from=start).train()
    for share in (0.0, 0.29, 0.3, 0.99, 1.0):
        model.set_progress(share)
        assert len(ran(model)) == (9 if share >= start else 5)
        for block in model.blocks:
            block.attention._forward_hooks.clear()


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "pass_embedding")
def test_every_pass_adds_its_vector():
    model = build("golf", pass_embedding=True)
    assert model.passes.shape == (3, 16)
    assert_two(logits(model), logits_of(model))
    for one in range(3):
        moved = build("golf", pass_embedding=True)
        moved.passes[one] += 0.5
        assert_two(logits(moved), logits(model))
    model.passes.zero_()
    assert_one(logits(model), logits_of(model))


@torch.no_grad()
@pytest.mark.shows("GolfConfig", "parallel", "parallel_from")
@pytest.mark.parametrize("first", [3, 4, 5])
def test_layers_from_one_on_are_parallel(first: int):
    """There the MLP does not read what the attention of its layer adds."""
    for form in ("none", "simple", "lanes"):
        model, deaf = build("golf", parallel=form, parallel_from=first), []
        for block in model.blocks:
            read: list[Tensor] = []
            block.mlp.register_forward_pre_hook(lambda module, inputs, read=read: read.append(inputs[0]))
            model(draw_tokens(1, 9))
            kept = block.attention_scale.clone()
            block.attention_scale.zero_()
            model(draw_tokens(1, 9))
            block.attention_scale.copy_(kept)
            passes = len(read) // 2
            deaf.append(torch.equal(read[0], read[passes]))
        assert deaf == [form != "none" and layer >= first for layer in range(5)]
    assert (build("golf", parallel="lanes", parallel_from=first).lanes is None) == (first == 5)
