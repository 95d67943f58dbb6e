"""I5: the FLOPs reported are those of the matrix products that ran; a token that left costs nothing more."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from builders import SWITCHES, build, draw_tokens, set_thresholds, switched
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tmt.bench.memory import peak_bytes
from tmt.layers.attention import dense_attention_flops
from tmt.model.base import IGNORE, LanguageModel, ModelOutput

MESH = [name for name, (architecture, _) in SWITCHES.items() if architecture == "tmt"]


def elementwise_flops(model: LanguageModel, output: ModelOutput) -> int:
    """What we count and torch's counter does not see: the local mix, which is no matrix product."""
    layers = zip(model.blocks, output.layer_tokens, strict=True)
    mixed = sum(running for block, running in layers if block.local is not None)
    return mixed * 2 * 4 * model.config.d_model


@torch.no_grad()
@pytest.mark.parametrize("name", MESH)
def test_a_mesh_model_counts_every_matrix_product(name: str):
    model = switched(name)
    with FlopCounterMode(display=False) as counter:
        output = model(draw_tokens(3, 23))
    assert output.flops == counter.get_total_flops() + elementwise_flops(model, output)


@torch.no_grad()
@pytest.mark.parametrize("name", ["tmt", "hierarchical", "everything"])
def test_cached_calls_count_what_they_run(name: str):
    model, tokens = switched(name), draw_tokens(3, 20)
    state = model(tokens[:, :13], lengths=torch.tensor([13, 2, 7]), return_state=True).state
    with FlopCounterMode(display=False) as counter:
        output = model(tokens[:, 13:], state)
    assert output.flops == counter.get_total_flops() + elementwise_flops(model, output)


@torch.no_grad()
@pytest.mark.parametrize("name", ["tmt", "target-depth", "no-memory", "data-decay"])
def test_training_counts_what_the_bank_collects(name: str):
    model, tokens = switched(name).train(), draw_tokens(3, 20)
    with FlopCounterMode(display=False) as counter:
        output = model(tokens)
    assert output.flops == counter.get_total_flops() + elementwise_flops(model, output)


@torch.no_grad()
def test_streaming_counts_a_bank_for_every_row():
    model, tokens = switched("stream-memory"), draw_tokens(3, 20)
    state = model(tokens[:, :13], lengths=torch.tensor([13, 2, 7]), return_state=True).state
    with FlopCounterMode(display=False) as counter:
        output = model(tokens[:, 13:], state)
    assert output.flops == counter.get_total_flops() + elementwise_flops(model, output)


@torch.no_grad()
def test_the_counter_crosses_block_boundaries(monkeypatch: pytest.MonkeyPatch):
    from tmt.ops.mesh import blocked, graph

    monkeypatch.setattr(blocked, "QUERY_BLOCK", 8)
    monkeypatch.setattr(graph, "QUERY_BLOCK", 5)
    model = switched("hierarchical")
    with FlopCounterMode(display=False) as counter:
        output = model(draw_tokens(2, 30))
    assert output.flops == counter.get_total_flops() + elementwise_flops(model, output)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 30), (3, 23)], ids=["one row", "three rows"])
def test_the_transformer_counts_the_causal_half_of_its_attention(shape: tuple[int, int]):
    """On a CPU torch counts fused attention as nothing; ours adds scores and values over the past alone."""
    model = build("transformer")
    with FlopCounterMode(display=False) as counter:
        output = model(draw_tokens(*shape))
    batch, length = shape
    scores_and_values = 2 * 2 * model.config.d_model * batch * sum(range(1, length + 1))
    assert output.flops == counter.get_total_flops() + model.config.n_layers * scores_and_values
    assert dense_attention_flops(torch.arange(length).expand(batch, -1), 16) == scores_and_values


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_full_depth_costs_what_the_model_announces(name: str):
    architecture, overrides = SWITCHES[name]
    if architecture == "tmt":
        overrides = {**overrides, "exit_objective": "none", "target_depth": None}
    model = build(architecture, **overrides)
    for length in (1, 17, 40):
        assert model(draw_tokens(1, length)).flops == model.flops(length)


@torch.no_grad()
def test_scoring_costs_what_its_logits_cost():
    for name in ("transformer", "tmt"):
        model, tokens = switched(name), draw_tokens(2, 12)
        assert model(tokens, targets=tokens).flops == model(tokens).flops
        last = torch.full_like(tokens, IGNORE)
        last[:, -1] = 1
        assert model(tokens, targets=last).flops == model(tokens, last_only=True).flops


@torch.no_grad()
@pytest.mark.parametrize("name", ["tmt", "project-exited", "two-entries", "two-landings", "no-landing"])
def test_only_running_tokens_are_worked_on(name: str):
    """Rows through every projection of every layer, counted by hooks, against layer_tokens."""
    model, tokens = switched(name), draw_tokens(3, 20)
    seen: dict[nn.Module, int] = {}

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        seen[module] = len(inputs[0])

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(hook)
    output = model(tokens)
    assert min(output.layer_tokens) < tokens.numel()
    for block, running in zip(model.blocks, output.layer_tokens, strict=True):
        for module in (block.attention.heads.query, block.attention.heads.output, block.ffn.semantics):
            assert seen[module] == running
        sources = tokens.numel() if name == "project-exited" else running
        assert seen[block.attention.routing] == sources


@torch.no_grad()
def test_fewer_tokens_cost_less():
    model, tokens = build(graph="none", memory_anchors=0), draw_tokens(1, 30)
    measured = []
    for threshold in (1.0, 0.7, 0.5, 0.3, 0.0):
        set_thresholds(model, threshold)
        output = model(tokens)
        measured.append((sum(output.layer_tokens), output.flops))
    assert [sum_ for sum_, _ in measured] == sorted((s for s, _ in measured), reverse=True)
    assert measured[0][0] == 4 * 30
    assert measured[-1][0] == 2 * 30
    for (more, cost), (fewer, less) in pairwise(measured):
        projections = 8 * 16 * 16 + 8 * 16 * 12 + 2 * 16
        assert cost - less >= (more - fewer) * projections


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["tmt", "two-entries", "two-landings", "no-landing", "random-exits", "no-exits"]
)
def test_layer_tokens_are_those_the_exit_masks_leave(name: str):
    model, tokens = switched(name), draw_tokens(3, 20)
    output = model(tokens)
    landing = model.config.n_layers - model.config.landing_layers
    running = [tokens.numel(), *(int((~mask).sum()) for mask in output.exit_masks[:-1])]
    expected = [tokens.numel() if l >= landing else count for l, count in enumerate(running)]
    assert output.layer_tokens == expected
    if output.depth is not None:
        assert int(output.depth.sum()) == sum(expected)
        assert model.layers_of(output.depth.flatten()).sum(0).tolist() == expected


@torch.no_grad()
@pytest.mark.parametrize("dual", [True, False])
def test_swiglu_and_two_streams_cost_the_same(dual: bool):
    """At the width of a preset; the gate and the local mix are the difference."""
    from tmt.layers.feed_forward import DualStreamFFN, LocalMix, SwiGLU

    streams, swiglu = DualStreamFFN(192, 384), SwiGLU(192, 384 * 4 // 3)
    added = LocalMix(192).flops(100) if dual else 0
    assert abs((streams.flops(100) + added) / swiglu.flops(100) - 1) < 0.01


@torch.no_grad()
def test_the_fused_path_counts_the_edges_that_the_past_can_fill():
    """Window, neighbours and anchors of every query, searched as the rule of its position says.

    Torch counts the anchors' scores, which are made outside.
    """
    model = build(dtype=torch.float32, exit_objective="none", exact_until=12, memory_anchors=9)
    assert model.ops()["mesh_attention"] == model.ops()["build_graph"] == "fused"
    d, window, slots, anchors, routing = 16, 4, 6, 9, 8
    length, attention, search = 30, 0, 0
    for position in range(length):
        past = max(0, position + 1 - window)
        attention += (min(position + 1, window) + min(past, slots)) * (4 * d + 2 * routing) + anchors * 2 * d
        blocks = max(0, position // 4 - 1) + (2 + 2) * 4
        search += 2 * routing * (past if position < 12 else min(past, blocks))
    with FlopCounterMode(display=False) as counter:
        output = model(draw_tokens(1, length))
    seen = counter.get_total_flops() + elementwise_flops(model, output)
    assert output.flops == seen + 4 * (attention + search)


def test_a_step_costs_almost_the_same_at_any_context():
    block = build(dtype=torch.float32, graph_block=64).blocks[0]
    costs = [block.flops(torch.tensor([[position]]), 1, 1, (0, 4)) for position in (1_000, 8_000)]
    more_means = 2 * 8 * (8_000 // 64 - 1_000 // 64)
    assert costs[1] - costs[0] == more_means


@torch.no_grad()
def test_a_pass_without_diagnostics_keeps_no_layer_alive():
    def peak(layers: int) -> int:
        model, tokens = build(dtype=torch.float32, n_layers=layers), draw_tokens(2, 90)
        call = partial(model, tokens, last_only=True, return_diagnostics=False)
        return peak_bytes(call, torch.device("cpu"))

    assert peak(16) < 1.5 * peak(4)
