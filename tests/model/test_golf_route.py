"""The way through the layers of the golf transformer: loops, and the skips across its middle."""

from typing import Any

import pytest
import torch
from builders import build, draw_tokens, fresh_golf, next_token_loss
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tmt.layers.attention import dense_attention_flops
from tmt.model.golf import Golf
from tmt.model.golf_config import GolfConfig

LAYERS = {True: [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9, 10], False: list(range(11))}
PAIRS = {
    True: [(5, 4, 1), (3, 3, 1), (4, 5, 0), (5, 4, 0), (6, 3, 0), (7, 2, 0), (8, 1, 0), (9, 0, 0)],
    False: [(5, 4, 0), (6, 3, 0), (7, 2, 0), (8, 1, 0), (9, 0, 0)],
}
"""Layer that receives, layer that sent, and in which of its passes."""


def trace(model: Golf, tokens: Tensor) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Layers in the order in which they ran, and the pairs that skips connected."""
    ran: list[int] = []
    sent: dict[Tensor, tuple[int, int]] = {}
    received: list[tuple[int, tuple[int, int]]] = []
    handles = []
    for layer, block in enumerate(model.blocks):

        def put_out(_: nn.Module, inputs: Any, output: Tensor, layer: int = layer) -> None:
            sent[output] = (layer, ran.count(layer) - 1)

        def attend(_: nn.Module, inputs: Any, output: Tensor, layer: int = layer) -> None:
            ran.append(layer)

        handles.append(block.register_forward_hook(put_out))
        handles.append(block.attention.register_forward_hook(attend))
    for skip in model.skips:

        def receive(_: nn.Module, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
            received.append((len(ran), sent[inputs[1]]))

        handles.append(skip.register_forward_hook(receive))
    model(tokens)
    for handle in handles:
        handle.remove()
    return ran, [(ran[step], *sender) for step, sender in received]


@torch.no_grad()
@pytest.mark.parametrize("looped", [True, False])
def test_the_way_through_the_layers(looped: bool):
    ran, pairs = trace(fresh_golf().train(not looped), draw_tokens(1, 5))
    assert ran == LAYERS[looped]
    assert pairs == PAIRS[looped]


def test_the_two_halves_of_the_way():
    assert GolfConfig().route(looped=True) == ([0, 1, 2, 3, 4, 5, 3, 4], [5, 3, 4, 5, 6, 7, 8, 9, 10])
    assert GolfConfig().route(looped=False) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10])


def test_loops_begin_at_their_share_of_the_training():
    model, tokens = fresh_golf(), draw_tokens(1, 5)
    keys = model.state_dict().keys()
    assert model.looping
    model.train()
    for share, looped in ((0.0, False), (0.34, False), (0.35, True), (1.0, True)):
        model.set_progress(share)
        assert model.looping == looped
        assert trace(model, tokens)[0] == LAYERS[looped]
        assert model.state_dict().keys() == keys
    assert fresh_golf(loops_from=0.0).train().looping


def untied(model: Golf) -> Golf:
    """The same network with weights of its own for every pass."""
    encoder, decoder = model.config.route(looped=True)
    way = [*encoder, *decoder]
    copy = build("golf", n_layers=len(way), loop_passes=1, parallel_from=way.index(3))
    shared = {name: t for name, t in model.state_dict().items() if not name.startswith(("blocks.", "lanes."))}
    copy.load_state_dict(shared, strict=False)
    copy.lanes.load_state_dict({name: t[way] for name, t in model.lanes.state_dict().items()})
    for block, layer in zip(copy.blocks, way, strict=True):
        block.load_state_dict(model.blocks[layer].state_dict())
        block.norm.scale = model.blocks[layer].norm.scale
    return copy


def test_gradients_of_a_looped_layer_are_the_sum_over_its_passes():
    model, tokens = build("golf"), draw_tokens(2, 12)
    copy = untied(model)
    loss, expected = next_token_loss(model, tokens), next_token_loss(copy, tokens)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    way = [0, 1, 2, 1, 2, 1, 2, 3, 4]
    for layer in range(5):
        passes = [block for block, index in zip(copy.blocks, way, strict=True) if index == layer]
        assert len(passes) == (3 if layer in (1, 2) else 1)
        for name, parameter in model.blocks[layer].named_parameters():
            total = sum(block.get_parameter(name).grad for block in passes)
            torch.testing.assert_close(parameter.grad, total, rtol=1e-9, atol=1e-12)


@torch.no_grad()
def test_every_pass_has_its_vector():
    model, tokens = build("golf", pass_embedding=True), draw_tokens(1, 9)
    plain = build("golf")
    plain.load_state_dict({n: t for n, t in model.state_dict().items() if n != "passes"})
    assert not fresh_golf(pass_embedding=True).passes.any()
    for k in range(3):
        model.passes.zero_()
        torch.testing.assert_close(model(tokens).logits, plain(tokens).logits)
        model.passes[k] = 1
        assert (model(tokens).logits - plain(tokens).logits).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("parallel", ["none", "lanes"])
def test_open_gates_give_the_network_without_skips(parallel: str):
    model, tokens = build("golf", parallel=parallel), draw_tokens(2, 9)
    plain = build("golf", parallel=parallel, unet_skips=False)
    plain.load_state_dict({n: t for n, t in model.state_dict().items() if not n.startswith("skips.")})
    for skip in model.skips:
        skip.gate.fill_(40.0)
    torch.testing.assert_close(model(tokens).logits, plain(tokens).logits)


@torch.no_grad()
def test_closed_gates_leave_the_skip_alone():
    """The last skip brings the output of layer 0; what ran since then is lost."""
    model, tokens = build("golf", parallel="none"), draw_tokens(2, 9)
    for skip in model.skips:
        skip.gate.fill_(-40.0)
    before = model(tokens).logits
    for layer in (1, 2):
        nn.init.normal_(model.blocks[layer].mlp.inner.weight)
    torch.testing.assert_close(model(tokens).logits, before)
    nn.init.normal_(model.blocks[0].mlp.inner.weight)
    assert (model(tokens).logits - before).abs().max() > 1e-3


@torch.no_grad()
def test_every_pass_remembers_its_own_keys():
    model, tokens = build("golf"), draw_tokens(2, 8)
    state = model(tokens, return_state=True).state
    assert len(state) == 1 + 2 * 9
    assert all(part.shape[2:] == (1, 8) for part in state[1:])


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["loops", "no loops"])
def test_flops_are_those_of_the_layers_that_ran(training: bool):
    model, tokens = build("golf", loops_from=0.5).train(training), draw_tokens(3, 23)
    with FlopCounterMode(display=False) as counter:
        output = model(tokens)
    scores = dense_attention_flops(torch.arange(23).expand(3, -1), 16)
    assert output.flops == counter.get_total_flops() + (5 if training else 9) * scores
    assert output.layer_tokens == [3 * 23] * 5
