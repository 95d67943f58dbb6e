"""Attention with shared keys and values: who hears whom, what positions and gains do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tmt.layers.attention import dense_causal_attention
from tmt.layers.cache import Cache
from tmt.layers.grouped_attention import GroupedAttention
from tmt.layers.rotary import rotate, rotation

LENGTH, WIDTH, HEADS = 9, 64, 4


def attention(**overrides: Any) -> GroupedAttention:
    """Four heads of width 16 over two of keys and values, 8 channels rotated."""
    torch.manual_seed(0)
    options = dict(rope_dims=8, rope_base=10000.0, gain=5.0, exclusive=True)
    layer = GroupedAttention(WIDTH, HEADS, 2, 1e-7, **{**options, **overrides}).double()
    with torch.no_grad():
        layer.gain.add_(torch.rand(HEADS))
    return layer


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64)


def run(layer: GroupedAttention, x: Tensor) -> Tensor:
    """(T, D) to (T, D)."""
    positions = torch.arange(len(x))
    cache = Cache(positions[None], None, None, keep=False)
    return layer(x, layer.rotation(positions), cache)


def scores(layer: GroupedAttention, x: Tensor, positions: Tensor) -> Tensor:
    """(H, T, T) products of queries and keys."""
    angles = layer.rotation(positions)
    keys = layer.keys(x, angles).repeat_interleave(HEADS // layer.n_kv_heads, 1)
    return torch.einsum("qhe,khe->hqk", layer.queries(x, angles), keys)


def test_no_gradient_comes_from_what_is_later():
    layer, x = attention(), draw(LENGTH).requires_grad_()
    output = run(layer, x)
    for t in range(1, LENGTH):
        (gradient,) = torch.autograd.grad(output[t].square().sum(), x, retain_graph=True)
        assert not gradient[t + 1 :].any()
        assert (gradient[: t + 1].abs().amax(1) > 1e-9).all()


def test_shared_heads_are_repeated_heads():
    shared, whole = (
        attention(),
        GroupedAttention(
            WIDTH, HEADS, HEADS, 1e-7, rope_dims=8, rope_base=10000.0, gain=5.0, exclusive=True
        ).double(),
    )
    state = shared.state_dict()
    for name in ("key.weight", "value.weight"):
        state[name] = state[name].unflatten(0, (2, -1)).repeat_interleave(2, 0).flatten(0, 1)
    whole.load_state_dict(state)
    assert shared.key.weight.shape == (WIDTH // 2, WIDTH)
    x = draw(LENGTH)
    torch.testing.assert_close(run(shared, x), run(whole, x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [LENGTH, 3])
def test_every_path_of_the_attention_shares_heads_alike(dtype: torch.dtype, queries: int):
    q = torch.randn(2, queries, 4, 8)
    k, v = torch.randn(2, 2, LENGTH, 2, 8)
    positions = torch.arange(LENGTH - queries, LENGTH).expand(2, -1)
    repeated = (x.repeat_interleave(2, 2).double() for x in (k, v))
    expected = dense_causal_attention(q.double(), *repeated, positions)
    actual = dense_causal_attention(q.to(dtype), k.to(dtype), v.to(dtype), positions)
    close = 3e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=close)


def test_scores_depend_on_distances_alone():
    layer, x, positions = attention(), draw(LENGTH), torch.arange(LENGTH)
    torch.testing.assert_close(
        scores(layer, x, positions + 31), scores(layer, x, positions), rtol=0, atol=1e-4
    )
    spread = scores(layer, x, 3 * positions)
    assert (spread - scores(layer, x, positions)).abs().max() > 0.1


def test_without_rotation_scores_know_no_position():
    layer, x, positions = attention(rope_dims=0), draw(LENGTH), torch.arange(LENGTH)
    assert torch.equal(scores(layer, x, 5 * positions), scores(layer, x, positions))


def test_the_first_channels_turn_clockwise_and_the_others_stay():
    heads, positions = torch.randn(LENGTH, 2, 16, dtype=torch.float64), torch.arange(LENGTH)
    turned = rotate(heads, attention().rotation(positions))
    assert torch.equal(turned[..., 8:], heads[..., 8:])
    for j in range(4):
        angle = (positions * 10000.0 ** (-2 * j / 8)).double()[:, None]
        a, b = heads[..., j], heads[..., j + 4]
        torch.testing.assert_close(turned[..., j], a * angle.cos() + b * angle.sin(), rtol=0, atol=1e-6)
        torch.testing.assert_close(turned[..., j + 4], b * angle.cos() - a * angle.sin(), rtol=0, atol=1e-6)


def test_a_rotation_of_all_channels_leaves_none():
    heads, angles = torch.randn(3, 2, 8), rotation(torch.arange(3), 8, 10000.0)
    assert rotate(heads, angles).shape == heads.shape
    torch.testing.assert_close(rotate(heads, angles).norm(dim=-1), heads.norm(dim=-1))


@torch.no_grad()
def test_the_norm_takes_the_scale_of_a_head_and_the_gain_gives_it():
    layer, x = attention(), draw(LENGTH)
    before = run(layer, x)
    layer.query.weight[16:32] *= 7
    torch.testing.assert_close(run(layer, x), before, rtol=0, atol=1e-6)
    layer.gain[1] *= 1.5
    assert (run(layer, x) - before).abs().max() > 1e-3


def test_keys_have_the_length_of_their_width():
    layer = attention()
    lengths = layer.keys(draw(LENGTH), layer.rotation(torch.arange(LENGTH))).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 16**0.5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_first_token_hears_itself_or_nothing(exclusive: bool):
    layer, x = attention(exclusive=exclusive).float(), draw(LENGTH).float()
    with torch.no_grad():
        layer.output.weight.copy_(torch.eye(WIDTH))
    heads = run(layer, x).unflatten(1, (HEADS, -1))
    values = layer.value(x).unflatten(1, (2, -1)).repeat_interleave(2, 1)
    if exclusive:
        assert heads[0].abs().max() < 1e-6
        assert (heads * values).sum(-1).abs().max() < 1e-5
        assert heads[1:].abs().max() > 1e-2
    else:
        torch.testing.assert_close(heads[0], values[0])


def test_flops_are_projections_and_the_causal_half_of_the_scores():
    layer, positions = attention(), torch.arange(LENGTH).expand(3, -1)
    weights = sum(p.numel() for p in layer.parameters() if p.dim() == 2)
    assert weights == 3 * WIDTH * WIDTH
    expected = 2 * 3 * LENGTH * weights + 4 * WIDTH * 3 * sum(range(1, LENGTH + 1))
    assert layer.flops(positions) == expected
