"""Every field of the graph of TMT does what its line in the configuration says.

Where one setting is another one in disguise the two models must agree; `parts` holds what ran.
"""

from typing import Any

import pytest
import torch
from builders import build, draw_tokens
from torch import Tensor
from twins import LENGTH, assert_one, assert_two, logits, twin

from tmt.model.model import TMTModel
from tmt.model.trace import LayerTrace

FREE = dict(exit_objective="none", decay="none")
"""Every token runs every layer and hears all of its past."""


def parts(model: TMTModel, tokens: Tensor | None = None) -> list[LayerTrace]:
    """What every layer of a pass computed."""
    tokens = draw_tokens(1, LENGTH) if tokens is None else tokens
    return model(tokens, return_diagnostics=True).traces


def neighbours(model: TMTModel) -> list[Tensor]:
    """The table (n, K) of every layer of a pass over one row of 40 tokens."""
    found = (trace.mesh.inputs.neighbours for trace in parts(model))
    return [table.reshape(LENGTH, -1).long() for table in found if table is not None]


def logits_of(weights: TMTModel | None = None, **overrides: Any) -> Tensor:
    """Logits of a configuration of TMT."""
    return logits(twin("tmt", weights, **overrides))


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
    chosen = trace.mesh.inputs.neighbours.reshape(LENGTH, 3)[10:].long()
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
        model = build(anneal_steps=10, **shared).train()
        model.steps.fill_(steps)
        annealed = logits(model)
        wide = logits_of(local_window=window, **shared)
        torch.testing.assert_close(annealed, wide, rtol=0, atol=close)
    assert_two(logits_of(local_window=24, **shared), logits_of(**shared))
    assert torch.equal(logits_of(anneal_steps=10, **shared), logits_of(**shared))
    model = build(anneal_steps=10).train()
    for _ in range(3):
        model.after_step({})
    assert model.steps == 3


@torch.no_grad()
def test_a_wider_window_is_counted_and_said_beforehand():
    shared: dict[str, Any] = dict(dtype=torch.float32, max_seq_len=44, exit_objective="none")
    tokens = draw_tokens(2, 44)
    for steps, window in ((0, 44), (5, 24), (10, 4)):
        model = build(anneal_steps=10, **shared).train()
        model.steps.fill_(steps)
        wide = build(local_window=window, **shared).train()
        assert model(tokens).flops == wide(tokens).flops
        assert model.eval()(tokens).flops == build(**shared)(tokens).flops
    dense, sparse = (build(local_window=window, **shared).flops(44) for window in (44, 4))
    assert dense > 1.05 * sparse
    (said,) = build(anneal_steps=10, **shared).notices(44)
    assert said.startswith("anneal_steps=10: the window shrinks from 44 to 4 tokens")
    assert f"up to {dense / sparse:.1f} times" in said
    assert build(**shared).notices(44) == []
    model.steps.fill_(10)
    assert model.notices(44) == []
