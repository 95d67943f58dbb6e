"""I4: the blocked graph equals the reference; every graph obeys the rules of its specification."""

from collections.abc import Iterator

import pytest
import torch
from drawing import draw_positions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops.mesh import GraphSpec, build_graph, graph


@pytest.fixture(autouse=True, scope="module")
def several_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "QUERY_BLOCK", 4)
        yield


def draw_routing(batch: int, length: int, symbols: int | None) -> Tensor:
    """Unit vectors; with `symbols`, those of so many tokens that recur, so that similarities tie."""
    if symbols is None:
        return torch.nn.functional.normalize(torch.randn(batch, length, 4, dtype=torch.float64), dim=-1)
    table = torch.nn.functional.normalize(torch.randn(symbols, 4, dtype=torch.float64), dim=-1)
    return table[torch.randint(0, symbols, (batch, length))]


def both(routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec, earliest=None) -> Tensor:
    expected = build_graph(routing_q, routing_k, positions, spec, earliest, impl="reference")
    actual = build_graph(routing_q, routing_k, positions, spec, earliest, impl="blocked")
    assert torch.equal(actual, expected)
    return actual


def check_rules(table: Tensor, positions: Tensor, spec: GraphSpec, earliest: Tensor | None) -> None:
    for b, t in ((b, t) for b in range(len(positions)) for t in range(positions.shape[1])):
        position, first = int(positions[b, t]), 0 if earliest is None else int(earliest[b, t])
        entries = table[b, t].tolist()
        chosen, after = ([j for j in part if j >= 0] for part in (entries[: spec.k], entries[spec.k :]))
        assert len({*chosen, *after}) == len(chosen) + len(after)
        assert all(first <= j <= position - spec.window for j in chosen + after)
        assert all(j == -1 or j in after or j in chosen for j in entries)
        expected_after = {j + 1 for j in chosen if j + 1 <= position - spec.window} - {*chosen}
        assert set(after) == (expected_after if spec.successors else set())
        if not spec.hierarchical_at(position):
            assert len(chosen) == min(spec.k, max(0, position - spec.window + 1 - first))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 1000),
    keys=st.sampled_from([1, 2, 5, 9, 17, 26]),
    share=st.sampled_from([0.2, 0.6, 1.0]),
    kind=st.sampled_from(["knn", "knn", "random", "recent"]),
    k=st.integers(0, 6),
    window=st.integers(1, 5),
    successors=st.booleans(),
    symbols=st.sampled_from([None, 1, 3]),
    exact_until=st.sampled_from([0, 7, 12, 99]),
    block=st.integers(1, 4),
    k_global=st.integers(0, 3),
    bounded=st.booleans(),
)
def test_blocked_equals_reference(
    seed, keys, share, kind, k, window, successors, symbols, exact_until, block, k_global, bounded
):
    torch.manual_seed(seed)
    positions = draw_positions(2, max(1, round(share * keys)), keys)
    routing_q, routing_k = draw_routing(2, positions.shape[1], symbols), draw_routing(2, keys, symbols)
    spec = GraphSpec(kind, k, window, successors, block, k_global, exact_until)
    earliest = (positions * torch.rand(positions.shape)).long() if bounded else None
    check_rules(both(routing_q, routing_k, positions, spec, earliest), positions, spec, earliest)


def test_the_nearest_of_equals_is_chosen():
    routing = torch.ones(1, 12, 1)
    spec = GraphSpec(k=2, window=3, successors=False)
    table = both(routing, routing, torch.arange(12)[None], spec)
    assert table[0, 11].tolist() == [8, 7]
    assert table[0, 3].tolist() == [0, -1]
    assert table[0, 2].tolist() == [-1, -1]


def test_similarities_closer_than_a_level_count_as_equal():
    routing_k = torch.tensor([0.50002, 0.5, 0.1, 0.0])[None, :, None]
    spec = GraphSpec(k=1, window=1, successors=False)
    assert both(torch.ones(1, 1, 1), routing_k, torch.tensor([[3]]), spec).tolist() == [[[1]]]
    assert both(torch.ones(1, 1, 1), routing_k * 100, torch.tensor([[3]]), spec).tolist() == [[[0]]]


def test_the_most_similar_are_chosen_with_what_followed_them():
    similarity = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.0, 0.0])
    spec = GraphSpec(k=3, window=2)
    table = both(torch.ones(1, 1, 1), similarity[None, :, None], torch.tensor([[7]]), spec)
    assert table.tolist() == [[[1, 3, 4, 2, -1, 5]]]


def test_controls_ignore_the_content():
    positions = torch.arange(15)[None]
    recent = GraphSpec("recent", k=3, window=2, successors=False)
    shuffled = GraphSpec("random", k=3, window=2, successors=False)
    tables = [
        [both(draw_routing(1, 15, None), draw_routing(1, 15, None), positions, spec) for _ in range(2)]
        for spec in (recent, shuffled)
    ]
    assert tables[0][0][0, 14].tolist() == [12, 11, 10]
    for first, second in tables:
        assert torch.equal(first, second)


def test_random_neighbours_are_spread_over_the_past():
    length = 400
    spec = GraphSpec("random", k=4, window=1, successors=False)
    routing = torch.zeros(1, length, 1)
    table = build_graph(routing, routing, torch.arange(length)[None], spec)[0, 200:].double()
    relative = table / torch.arange(200, length)[:, None]
    assert abs(relative.mean() - 0.5) < 0.05
    assert abs(relative.std() - 12**-0.5) < 0.05


@given(seed=st.integers(0, 100), symbols=st.sampled_from([None, 3]), block=st.integers(1, 4))
def test_windows_equal_tokens_when_the_budget_covers_everything(seed: int, symbols: int | None, block: int):
    torch.manual_seed(seed)
    routing, positions = draw_routing(2, 21, symbols), torch.arange(21).expand(2, -1)
    windows = both(
        routing, routing, positions, GraphSpec(k=3, window=2, block=block, k_global=21, exact_until=0)
    )
    tokens = both(routing, routing, positions, GraphSpec(k=3, window=2))
    assert torch.equal(windows, tokens)


def test_windows_are_chosen_by_their_mean():
    """Window 1 (positions 2, 3) holds the best token, window 0 the best mean."""
    routing = torch.tensor([0.6, 0.6, 0.9, -0.9, 0.1, 0.2, 0.0, 0.0, 1.0, 0.0])[None, :, None]
    spec = GraphSpec(k=5, window=1, successors=False, block=2, k_global=1, exact_until=0)
    table = both(torch.ones(1, 1, 1), routing, torch.tensor([[9]]), spec)
    assert table.tolist() == [[[8, 1, 0, 7, 6]]]


@pytest.mark.parametrize("impl", ["reference", "blocked"])
@pytest.mark.parametrize("exact_until", [0, 512])
def test_autocast_changes_no_neighbour(impl: str, exact_until: int):
    """Rounded to bfloat16, three rows of a hundred would choose others."""
    routing = draw_routing(1, 96, None).float()
    positions = torch.arange(96)[None]
    spec = GraphSpec(k=3, window=2, block=8, k_global=2, exact_until=exact_until)
    expected = build_graph(routing, routing, positions, spec, impl=impl)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(build_graph(routing, routing, positions, spec, impl=impl), expected)


def test_the_choice_carries_no_gradient():
    routing = torch.randn(1, 9, 3, requires_grad=True)
    for impl in ("reference", "blocked"):
        table = build_graph(routing, routing, torch.arange(9)[None], GraphSpec(k=2, window=1), impl=impl)
        assert not table.requires_grad


@pytest.mark.parametrize("impl", [None, "reference", "blocked"])
@pytest.mark.parametrize("queries", [0, 5])
def test_positions_are_kept_in_four_bytes(impl: str | None, queries: int):
    spec, routing = GraphSpec(k=2), torch.ones(2, 5, 3)
    table = build_graph(routing[:, :queries], routing, torch.arange(queries).expand(2, -1), spec, impl=impl)
    assert (table.shape, table.dtype) == ((2, queries, spec.width), torch.int32)


def test_an_unknown_implementation_is_named():
    with pytest.raises(ValueError, match=r"'reverence'.*did you mean reference"):
        build_graph(
            torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1), GraphSpec(), impl="reverence"
        )
