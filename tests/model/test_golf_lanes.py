"""The two lanes of the golf transformer: who hears whom, and what they are without their differences."""

import torch
from builders import build, draw_tokens, next_token_loss
from torch import Tensor, nn

from tmt.model.golf import Golf


@torch.no_grad()
def test_equal_lanes_are_the_simple_form():
    overrides = dict(unet_skips=False, lane_retention=1.0)
    lanes, tokens = build("golf", parallel="lanes", **overrides), draw_tokens(2, 9)
    lanes.lanes.retention.fill_(1)
    lanes.lanes.exchange.fill_(1)
    for block in lanes.blocks[3:]:
        block.mix.copy_(torch.stack([torch.ones(16), torch.zeros(16)]))
    simple = build("golf", parallel="simple", **overrides)
    simple.load_state_dict({n: t for n, t in lanes.state_dict().items() if not n.startswith("lanes.")})
    seen: list[tuple[Tensor, Tensor]] = []
    lanes.lanes.register_forward_hook(lambda module, inputs, output: seen.append(output))
    torch.testing.assert_close(lanes(tokens).logits, simple(tokens).logits)
    assert len(seen) == 2
    for first, second in seen:
        assert torch.equal(first, second)


def last_lanes(model: Golf, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """What the lanes hold after the last layer."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = model.lanes.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(tokens)
    handle.remove()
    return seen[-1]


@torch.no_grad()
def test_a_lane_that_the_mlps_do_not_enter_does_not_hear_them():
    model, tokens = build("golf"), draw_tokens(2, 9)
    model.lanes.exchange[:, 1, 0] = 0
    first, second = last_lanes(model, tokens)
    for block in model.blocks[3:]:
        nn.init.normal_(block.mlp.inner.weight)
    same, changed = last_lanes(model, tokens)
    assert torch.equal(first, same)
    assert (second - changed).abs().max() > 1e-3


@torch.no_grad()
def test_sublayers_of_one_parallel_layer_do_not_hear_each_other():
    model, tokens, seen = build("golf"), draw_tokens(2, 9), []
    model.blocks[3].attention.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.blocks[3].mlp.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model(tokens)
    nn.init.normal_(model.blocks[3].mlp.inner.weight)
    model(tokens)
    nn.init.normal_(model.blocks[3].attention.value.weight)
    model(tokens)
    (a, m), (same_a, other_m), (other_a, same_m) = zip(seen[::2], seen[1::2], strict=True)
    assert torch.equal(a, same_a)
    assert torch.equal(other_m, same_m)
    assert not torch.equal(m, other_m)
    assert not torch.equal(a, other_a)


def test_lanes_train_the_weights_of_their_layers_alone():
    model, tokens = build("golf"), draw_tokens(2, 9)
    next_token_loss(model, tokens).backward()
    for weight in (model.lanes.exchange, model.lanes.retention):
        assert not weight.grad[:3].any()
        assert (weight.grad[3:] != 0).all()


def test_lanes_without_layers_are_left_out():
    assert build("golf", parallel_from=5).lanes is None
    assert build("golf", parallel="none").lanes is None
