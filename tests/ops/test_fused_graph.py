"""I4 for the compiled graph: the choices of the reference, the same on any number of threads."""

from collections.abc import Callable

import pytest
import torch
from drawing import draw_positions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops.mesh import GraphSpec, block_means, build_graph, cpu, graph

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")


def exact_routing(*shape: int) -> Tensor:
    """Multiples of 1/8: their products are exact in any order of summation."""
    return torch.randint(-8, 9, shape).float() / 8


@pytest.mark.usefixtures("lanes")
@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    keys=st.sampled_from([1, 2, 9, 33, 70]),
    share=st.sampled_from([0.0, 0.6, 1.0]),
    k=st.integers(0, 6),
    window=st.integers(1, 20),
    successors=st.booleans(),
    width=st.sampled_from([1, 5, 16]),
    exact_until=st.sampled_from([0, 7, 40, 99]),
    block=st.integers(1, 20),
    k_global=st.integers(0, 3),
    bounded=st.booleans(),
)
def test_the_graph_equals_the_reference(
    seed, keys, share, k, window, successors, width, exact_until, block, k_global, bounded
):
    torch.manual_seed(seed)
    positions = draw_positions(2, max(1, round(share * keys)), keys)
    routing_q, routing_k = exact_routing(2, positions.shape[1], width), exact_routing(2, keys, width)
    if block & (block - 1):
        block = 1 << block.bit_length()  # means of a power of two are exact as well
    spec = GraphSpec("knn", k, window, successors, block, k_global, exact_until)
    earliest = (positions * torch.rand(positions.shape)).long() if bounded else None
    expected = build_graph(routing_q, routing_k, positions, spec, earliest, impl="reference")
    actual = build_graph(routing_q, routing_k, positions, spec, earliest, impl="fused")
    assert torch.equal(actual, expected)


@pytest.mark.usefixtures("lanes")
def test_any_number_of_threads_gives_the_same_graph(threads: Callable[[int], None]):
    spec = GraphSpec(k=4, window=8, block=16, k_global=2, exact_until=100)
    routing, positions, tables = torch.randn(2, 300, 32), torch.arange(300).repeat(2, 1), []
    for count in (1, 2):
        threads(count)
        tables.append(build_graph(routing, routing, positions, spec, impl="fused"))
    assert torch.equal(*tables)


def test_the_operators_keep_the_rules_of_pytorch():
    forget, positions = -torch.rand(2, 12, 3).cumsum(1), torch.arange(12).repeat(2, 1)
    routing = torch.randn(2, 12, 8)
    means = block_means(routing, 4, 0, 3)
    arguments = (routing, routing, positions, None, means, 2, 3, True, 4, 1, 6)
    torch.library.opcheck(torch.ops.tmt.build_graph.default, arguments)
    torch.library.opcheck(torch.ops.tmt.block_means.default, (routing, 4, 0, 3))
    torch.library.opcheck(torch.ops.tmt.earliest_audible.default, (forget, forget, positions, -20.0))


def test_a_distant_query_reads_means_and_the_blocks_it_searches():
    spec = GraphSpec(k=4, window=3, block=16, k_global=2, exact_until=40)
    routing, positions = torch.randn(1, 320, 24), torch.tensor([[319]])
    means = block_means(routing, 16, 0, 20)
    expected = build_graph(routing[:, -1:], routing, positions, spec, means=means, impl="fused")
    best = (means[0, :18] @ routing[0, -1]).topk(2).indices
    read = torch.zeros(20, dtype=torch.bool)
    read[[18, 19, *best.tolist()]] = True
    poisoned = routing.clone()
    poisoned[:, ~read.repeat_interleave(16)] = torch.nan
    actual = build_graph(routing[:, -1:], poisoned, positions, spec, means=means, impl="fused")
    assert torch.equal(actual, expected)


@pytest.mark.usefixtures("lanes")
def test_a_query_alone_chooses_what_it_chooses_in_company():
    """Decoding transposes only the blocks it reads; the sums are the same bits."""
    spec = GraphSpec(k=4, window=3, block=8, k_global=2, exact_until=40)
    routing, positions = torch.randn(1, 90, 24), torch.arange(90)[None]
    together = build_graph(routing, routing, positions, spec, impl="fused")
    for t in range(90):
        q, k, at = routing[:, t : t + 1], routing[:, : t + 1], positions[:, t : t + 1]
        assert torch.equal(build_graph(q, k, at, spec, impl="fused"), together[:, t : t + 1])


@pytest.mark.parametrize("size", [1e30, torch.inf, torch.nan])
def test_extreme_similarities_choose_something_allowed(size: float):
    routing, positions = size * torch.randn(1, 40, 8), torch.arange(40)[None]
    table = build_graph(routing, routing, positions, GraphSpec(k=4, window=2), impl="fused")
    assert ((table == -1) | ((table >= 0) & (table <= positions[..., None] - 2))).all()


def test_means_are_those_of_the_blocks():
    rows = torch.randn(2, 37, 5)
    expected = torch.stack([rows[:, 8 * i : 8 * i + 8].mean(1) for i in range(1, 4)], 1)
    torch.testing.assert_close(block_means(rows, 8, 1, 3), expected)
    torch.testing.assert_close(graph.block_means(rows, 8, 1, 3), expected)
    whole = block_means(rows, 8, 0, 5)
    assert torch.equal(block_means(rows, 8, 2, 1), whole[:, 2:3])
    torch.testing.assert_close(whole[:, 4], rows[:, 32:].sum(1) / 8)
