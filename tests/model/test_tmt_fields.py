"""Every switch of TMT does what its line in the configuration says.

Where one setting is another one in disguise the two models must agree; `parts` holds what ran.
"""

from typing import Any

import pytest
import torch
from builders import SIZES, build, draw_tokens, set_thresholds
from torch import Tensor

from tmt.layers.exit_gate import binary_entropy
from tmt.layers.feed_forward import DualStreamFFN, SwiGLU
from tmt.model.config import TMTConfig
from tmt.model.model import TMTModel
from tmt.model.trace import LayerTrace

LENGTH = 40
FREE = dict(exit_objective="none", decay="none")
"""Every token runs every layer and hears all of its past."""


def parts(model: TMTModel, tokens: Tensor | None = None) -> list[LayerTrace]:
    """What every layer of a pass computed."""
    tokens = draw_tokens(1, LENGTH) if tokens is None else tokens
    return model(tokens, return_diagnostics=True).traces


def neighbours(model: TMTModel) -> list[Tensor]:
    """The table (n, K) of every layer of a pass over one row of 40 tokens."""
    found = (trace.mesh.inputs.neighbours for trace in parts(model))
    return [table.reshape(LENGTH, -1) for table in found if table is not None]


def logits_of(
    weights: TMTModel | None = None, training: bool = False, steps: int = 0, **overrides: Any
) -> Tensor:
    """Logits of a configuration, with the weights of another model that has the same ones."""
    model = build(**overrides)
    if weights is not None:
        model.load_state_dict(weights.state_dict(), strict=False)
    model.steps.fill_(steps)
    with torch.no_grad():
        return model.train(training)(draw_tokens(2, LENGTH)).logits


def assert_one(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def assert_two(a: Tensor, b: Tensor) -> None:
    assert (a - b).abs().max() > 1e-3


@pytest.mark.shows("TMTConfig", "graph", "dense_layers", "local_window")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["plain", "fused"])
def test_dense_is_a_window_that_holds_every_token(dtype: torch.dtype):
    shared: dict[str, Any] = dict(dtype=dtype, max_seq_len=96)
    dense = logits_of(graph="dense", **shared)
    close = 1e-10 if dtype == torch.float64 else 1e-4
    for same in (dict(graph="none", local_window=96), dict(dense_layers=(0, 1, 2, 3))):
        torch.testing.assert_close(logits_of(**same, **shared), dense, rtol=0, atol=close)
    for other in (
        dict(graph="none", local_window=39),
        dict(graph="none", local_window=8),
        dict(dense_layers=(0, 1)),
    ):
        assert (logits_of(**other, **shared) - dense).abs().max() > 1e-5


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "dense_layers")
def test_only_the_named_layers_are_dense():
    traces = parts(build(dense_layers=(0, 2), **FREE))
    assert [trace.mesh.inputs.window > LENGTH for trace in traces] == [True, False, True, False]
    assert [trace.mesh.inputs.neighbours is None for trace in traces] == [True, False, True, False]


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "local_window")
@pytest.mark.parametrize("window", [1, 4, 7])
def test_a_window_sees_that_many_tokens(window: int):
    """One layer that reads its window alone: a token hears the last `window` tokens and no other."""
    alone = dict(n_layers=1, graph="none", memory_anchors=0, dual_stream=False, **FREE)
    model, tokens = build(local_window=window, **alone), draw_tokens(1, LENGTH)
    embedded = model.embed(tokens).detach().requires_grad_()
    model.embed = lambda tokens: embedded
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(model(tokens).logits[0, 30].square().sum(), embedded)
    assert gradient.abs().amax(1).nonzero()[:, 0].tolist() == list(range(31 - window, 31))


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "graph", "graph_k", "successors")
@pytest.mark.parametrize("kind", ["knn", "random", "recent"])
def test_a_token_has_its_neighbours(kind: str):
    pairs, alone = (neighbours(build(graph=kind, graph_k=5, successors=s, **FREE)) for s in (True, False))
    for table in alone:
        assert table.shape == (LENGTH, 5)
        past = (torch.arange(LENGTH) - 3).clamp(0, 5)
        assert torch.equal((table >= 0).sum(1), past)
        assert (table <= (torch.arange(LENGTH)[:, None] - 4).clamp(min=-1)).all()
    first = alone[0]
    assert torch.equal(pairs[0][:, :5], first)
    for t in range(LENGTH):
        chosen = {int(j) for j in first[t] if j >= 0}
        assert {int(j) for j in pairs[0][t] if j >= 0} == chosen | {j + 1 for j in chosen if j + 1 <= t - 4}
    recent = [[t - 4 - i for i in range(5)] for t in range(10, LENGTH)]
    assert (first[10:].tolist() == recent) == (kind == "recent")


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "graph", "routing_dim", "edge_similarity")
@pytest.mark.parametrize("routing_dim", [0, 8])
@pytest.mark.parametrize("similarity", ["cosine", "bilinear"])
def test_neighbours_are_those_that_route_alike(routing_dim: int, similarity: str):
    model = build(routing_dim=routing_dim, edge_similarity=similarity, successors=False, **FREE)
    trace, attention = parts(model)[0], model.blocks[0].attention
    states = trace.states if routing_dim == 0 else attention.routing(trace.states)
    assert states.shape[1] == (routing_dim or 16)
    unit = torch.nn.functional.normalize(states, dim=-1)
    query = unit if similarity == "cosine" else unit @ attention.bilinear
    score = (query @ unit.T).masked_fill(torch.ones(LENGTH, LENGTH).triu(-3).bool(), -torch.inf)
    chosen = trace.mesh.inputs.neighbours.reshape(LENGTH, 3)[10:]
    found = score[10:].gather(1, chosen).sort(descending=True).values
    torch.testing.assert_close(found, score.topk(3).values[10:], rtol=0, atol=1e-5)  # compared in levels


@pytest.mark.shows("TMTConfig", "edge_similarity")
def test_a_bilinear_form_that_is_the_identity_is_the_cosine():
    directed, plain = (build(edge_similarity=form) for form in ("bilinear", "cosine"))
    for block in directed.blocks:
        block.attention.bilinear.data.copy_(torch.eye(8))
    plain.load_state_dict(directed.state_dict(), strict=False)
    assert_one(directed(draw_tokens(2, LENGTH)).logits, plain(draw_tokens(2, LENGTH)).logits)
    assert_two(logits_of(plain, edge_similarity="bilinear"), logits_of(plain))


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "exact_until", "k_global", "graph_block")
def test_windows_are_searched_from_a_position_on():
    exact = logits_of(exact_until=10**6)
    assert_one(logits_of(exact_until=0, k_global=100), exact)
    assert_one(logits_of(exact_until=LENGTH, k_global=0), exact)
    assert_two(logits_of(exact_until=0, k_global=0), exact)
    assert_one(logits_of(exact_until=20, k_global=0)[:, :20], exact[:, :20])
    assert_two(logits_of(exact_until=20, k_global=0)[:, 20:], exact[:, 20:])
    for block in (4, 6):
        near = neighbours(build(exact_until=0, k_global=0, graph_block=block, successors=False, **FREE))[0]
        behind = torch.arange(LENGTH)[:, None] // block - near // block
        assert set(behind[near >= 0].tolist()) == {0, 1} if block == 6 else {1}
        found = neighbours(
            build(exact_until=0, k_global=2, graph_block=block, graph_k=8, successors=False, **FREE)
        )[0]
        blocks = [{j // block for j in row.tolist() if j >= 0} for row in found]
        assert max(len({b for b in own if b < t // block - 1}) for t, own in enumerate(blocks)) == 2


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "rebuild_every")
@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_so_many_layers_share_a_graph(every: int):
    tables = neighbours(build(rebuild_every=every, **FREE))
    for layer in range(1, 4):
        assert torch.equal(tables[layer], tables[layer - 1]) == (layer % every != 0)


@torch.no_grad()
@pytest.mark.shows("TMTConfig", "anneal_steps")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["plain", "fused"])
def test_the_window_shrinks_over_the_steps_asked_for(dtype: torch.dtype):
    close = 1e-10 if dtype == torch.float64 else 1e-4
    shared: dict[str, Any] = dict(dtype=dtype, max_seq_len=44)
    for steps, window in ((0, 44), (3, 32), (5, 24), (9, 8), (10, 4), (25, 4)):
        annealed = logits_of(anneal_steps=10, training=True, steps=steps, **shared)
        wide = logits_of(local_window=window, **shared)
        torch.testing.assert_close(annealed, wide, rtol=0, atol=close)
    assert_two(logits_of(local_window=24, **shared), logits_of(**shared))
    assert torch.equal(logits_of(anneal_steps=10, **shared), logits_of(**shared))
    model = build(anneal_steps=10).train()
    for _ in range(3):
        model.after_step({})
    assert model.steps == 3


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
    first = parts(model, tokens)[0]
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
        traces = parts(build(exited_kv=policy), tokens)
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
