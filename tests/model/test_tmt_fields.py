"""Every other field of TMT does what its line in the configuration says.

Where one setting is another one in disguise the two models must agree.
"""

from typing import Any

import pytest
import torch
from builders import SIZES, build, draw_tokens, set_thresholds
from torch import Tensor
from twins import LENGTH, assert_one, assert_two, logits, twin

from tmt.layers.exit_gate import binary_entropy
from tmt.layers.feed_forward import DualStreamFFN, SwiGLU
from tmt.model.config import TMTConfig
from tmt.model.model import TMTModel


def logits_of(weights: TMTModel | None = None, **overrides: Any) -> Tensor:
    """Logits of a configuration of TMT."""
    return logits(twin("tmt", weights, **overrides))


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "decay")
def test_decays_that_are_at_rest_are_none():
    none = build(decay="none")
    assert not any("decay" in name or "forget" in name for name in none.state_dict())
    gated, distant = build(decay="data"), build(decay="distance")
    for model in (gated, distant):
        model.load_state_dict(none.state_dict(), strict=False)
        assert_two(model(draw_tokens(2, LENGTH)).logits, none(draw_tokens(2, LENGTH)).logits)
    for block in gated.blocks:
        block.attention.forget.proj.weight.zero_()
        block.attention.forget.proj.bias.fill_(80.0)
    for block in distant.blocks:
        block.attention.decay.weight.fill_(-80.0)
    for model in (gated, distant):
        assert_one(model(draw_tokens(2, LENGTH)).logits, none(draw_tokens(2, LENGTH)).logits)


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "decay_rate")
@pytest.mark.parametrize("rate", [0.05, 2.0])
def test_the_fastest_head_starts_at_the_rate(rate: float):
    for kind in ("distance", "data"):
        model = TMTModel(TMTConfig(**{**SIZES["tmt"], "n_heads": 4, "decay": kind, "decay_rate": rate}))
        for block in model.blocks:
            if kind == "distance":
                rates = block.attention.decay.rates()
            else:
                rates = -torch.nn.functional.logsigmoid(block.attention.forget.proj.bias)
            torch.testing.assert_close(
                rates, torch.tensor([rate, rate / 2, rate / 4, 1e-5]), rtol=1e-3, atol=1e-7
            )


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "channel_decay", "decay_horizon")
def test_channels_fall_with_the_position_over_the_horizon():
    model, tokens = build(channel_decay=True, decay_horizon=32), draw_tokens(2, LENGTH)
    weights = torch.nn.functional.softplus(model.blocks[-1].channel_decay.weight)
    expected = 2 * torch.sigmoid(-weights * torch.arange(LENGTH)[:, None] / 32)
    torch.testing.assert_close(model(tokens).decay_scalars[0], expected)
    assert_two(model(tokens).logits, logits_of(model))
    assert_two(model(tokens).logits, logits_of(model, channel_decay=True, decay_horizon=8))
    for block in model.blocks:
        block.channel_decay.weight.fill_(-80.0)
    assert_one(model(tokens).logits, logits_of(model))


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "exit_objective")
def test_the_objective_says_who_leaves_and_what_is_paid():
    tokens = draw_tokens(2, LENGTH)
    outputs = {kind: build(exit_objective=kind).train()(tokens, return_diagnostics=True)
               for kind in ("none", "budget", "entropy", "learned")}  # fmt: skip
    assert [sum(output.layer_tokens) == 4 * 80 for output in outputs.values()] == [True, False, False, False]
    assert [output.penalty is None for output in outputs.values()] == [True, True, False, False]
    decided = [trace.decision for trace in outputs["entropy"].traces if trace.decision]
    confidence = torch.cat([decision.confidence for decision in decided])
    torch.testing.assert_close(outputs["entropy"].penalty, binary_entropy(confidence))
    soft = [trace.decision.soft_stay for trace in outputs["learned"].traces if trace.decision]
    torch.testing.assert_close(outputs["learned"].penalty, (2 + torch.cat(soft).sum() / 80) / 4)
    gains = {kind: [t.decision.gain for t in output.traces if t.decision] for kind, output in outputs.items()}
    assert not gains["none"]
    assert all(gain is None for gain in gains["entropy"])
    for gain, trace in zip(gains["budget"], outputs["budget"].traces, strict=False):
        torch.testing.assert_close(gain, 2 * (1 - trace.decision.confidence))
    for gain in gains["learned"]:
        torch.testing.assert_close(gain, torch.ones_like(gain))


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "exit_gate", "exit_threshold")
@pytest.mark.parametrize("kind", ["learned", "random", "position"])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_a_token_leaves_where_its_confidence_exceeds_the_threshold(kind: str, threshold: float):
    model, tokens = build(exit_gate=kind, exit_threshold=threshold), draw_tokens(2, LENGTH)
    output = model(tokens)
    first = model(tokens).traces[0]
    assert torch.equal(output.exit_masks[0], output.confidences[0] > threshold)
    gate, key = model.gates["0"], torch.arange(LENGTH).repeat(2) * 4
    states = first.rows.grid_positions
    hidden: list[Tensor] = []
    model.blocks[0].register_forward_hook(lambda module, inputs, result: hidden.append(result[0]))
    model(tokens)
    assert states.shape == (2, LENGTH)
    score = torch.sigmoid(gate.score(gate.norm(hidden[0])))[:, 0]
    same = {name: torch.equal(gate(hidden[0], name_key, None).confidence, output.confidences[0].flatten())
            for name, name_key in (("position", key), ("random", key * 61 + tokens.flatten()))}  # fmt: skip
    torch.testing.assert_close(
        score.float(), output.confidences[0].flatten().float()
    ) if kind == "learned" else None
    assert same == {"position": kind != "random", "random": kind != "position"}


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "target_depth")
@pytest.mark.parametrize("depth", [0.6, 0.9])
def test_a_target_sets_how_many_tokens_a_layer_works_on(depth: float):
    output = build(n_layers=6, target_depth=depth).train()(draw_tokens(3, LENGTH))
    assert sum(output.layer_tokens) / (6 * 120) == pytest.approx(depth, abs=0.01)
    assert output.layer_tokens[0] == output.layer_tokens[-1] == 120
    assert min(output.layer_tokens) < 120


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "entry_layers", "landing_layers")
@pytest.mark.parametrize(("entry", "landing"), [(1, 0), (1, 2), (2, 1), (3, 1)])
def test_so_many_layers_run_for_every_token(entry: int, landing: int):
    model = build(n_layers=6, entry_layers=entry, landing_layers=landing)
    set_thresholds(model, 0.0)
    assert (
        model(draw_tokens(2, 20)).layer_tokens == [40] * entry + [0] * (6 - entry - landing) + [40] * landing
    )


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "exited_kv")
def test_keys_of_who_left_are_the_old_ones_or_new():
    tokens = draw_tokens(2, LENGTH)
    for policy in ("reuse", "project"):
        traces = build(exited_kv=policy)(tokens).traces
        left = torch.ones(80, dtype=torch.bool)
        left[traces[1].rows.index] = False
        assert 5 < left.sum() < 75
        before, after = (trace.mesh.carry.k[left] for trace in traces[:2])
        assert torch.equal(before, after) == (policy == "reuse")


@pytest.mark.shows("TMTConfig", "dual_stream", "ffn_stream_dim")
def test_streams_and_their_width():
    for dual, kind, shape in ((True, DualStreamFFN, (36, 16)), (False, SwiGLU, (48, 16))):
        for block in build(dual_stream=dual, ffn_stream_dim=36).blocks:
            assert isinstance(block.ffn, kind)
            assert (block.ffn.syntax if dual else block.ffn.gate).weight.shape == shape
            assert (block.local is None) == (not dual)


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "stream_inputs")
def test_a_local_mix_of_the_token_alone_is_the_shared_input():
    split, shared = build(stream_inputs="split"), build(stream_inputs="shared")
    tokens = draw_tokens(2, LENGTH)
    for block in split.blocks:
        block.local_norm.weight.copy_(block.ffn_norm.weight)
    shared.load_state_dict(split.state_dict(), strict=False)
    assert_two(split(tokens).logits, shared(tokens).logits)
    for block in split.blocks:
        block.local.weight.zero_()
        block.local.weight[0] = 1
    assert_one(split(tokens).logits, shared(tokens).logits)


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "memory_anchors", "memory_momentum")
def test_so_many_anchors_move_at_the_momentum():
    assert build(memory_anchors=0).memory is None
    for momentum in (0.5, 0.9):
        model = build(memory_anchors=6, memory_momentum=momentum).train()
        statistics = model(draw_tokens(2, LENGTH)).statistics
        before, seen = (
            model.memory.total.clone(),
            statistics["memory.total"] * 6 / statistics["memory.count"].sum(),
        )
        model.memory.DEAD = 0.0
        model.after_step(statistics)
        torch.testing.assert_close(model.memory.total, momentum * before + (1 - momentum) * seen)
        assert model(draw_tokens(1, 9), return_diagnostics=True).memory_state.shape == (6, 16)


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "stream_memory")
def test_a_stream_moves_banks_of_its_own():
    tokens = draw_tokens(2, LENGTH)
    for streams in (False, True):
        model = build(stream_memory=streams, memory_momentum=0.5)
        state = model(tokens[:, :20], return_state=True).state
        banks = [part for part in state if part.shape == (2, 4, 16)]
        assert len(banks) == streams
        assert all((bank[0] - bank[1]).abs().max() > 1e-3 for bank in banks)
