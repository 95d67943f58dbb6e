"""I4 for the compiled mesh: values and gradients of the reference, the same bits on any number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from drawing import PARTS, differentiable, draw_inputs, draw_positions, mapped
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops.mesh import (
    GraphSpec,
    MeshInputs,
    attention_impl,
    backend,
    block_means,
    build_graph,
    cpu,
    fused_attention,
    graph,
    mesh_attention,
)

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")

SHAPES = dict(
    seed=st.integers(0, 1000),
    keys=st.sampled_from([1, 2, 3, 7, 18, 40]),
    share=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    heads=st.integers(1, 3),
    width=st.sampled_from([2, 8, 16, 24, 64]),
    window=st.integers(1, 14),
    parts=st.sets(st.sampled_from(PARTS)),
    batch=st.integers(1, 3),
    own_anchors=st.booleans(),
)


def draw(seed, keys, share, heads, width, window, parts, batch, own_anchors) -> MeshInputs:
    torch.manual_seed(seed)
    rows = batch if own_anchors else 1
    queries = max(1, round(share * keys))
    return draw_inputs(batch, queries, keys, heads, width, window, parts, rows, dtype=torch.float32)


def run(inputs: MeshInputs, impl: str) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
    inputs, leaves = differentiable(inputs)
    output, usage = mesh_attention(inputs, impl)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).to(output.dtype)
    gradients = torch.autograd.grad((output * direction).sum(), leaves)
    return output.detach(), usage, list(gradients)


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    """Relative to the largest entry; a gradient that is zero but for rounding has none."""
    error, size = (actual.double() - expected.double()).abs().max(), expected.double().abs().max()
    assert error <= tolerance * max(size, 1.0)


def assert_equals_reference(inputs: MeshInputs, values: float, gradients: float) -> None:
    output, usage, grads = run(inputs, "fused")
    expected_output, expected_usage, expected_grads = run(mapped(inputs, lambda x: x.double()), "reference")
    assert output.dtype == inputs.q.dtype
    assert_near(output, expected_output, values)
    if expected_usage is not None:
        assert_near(usage, expected_usage, values)
    for actual, expected in zip(grads, expected_grads, strict=True):
        assert_near(actual, expected, gradients)


@settings(max_examples=80)
@given(**SHAPES)
def test_single_precision_equals_the_reference(**shape):
    assert_equals_reference(draw(**shape), values=1e-5, gradients=1e-4)


@settings(max_examples=30)
@given(**SHAPES)
def test_half_precision_equals_the_reference(**shape):
    inputs = draw(**shape)
    for part in (inputs, inputs.anchors):
        for name in ("q", "k", "v") if part is inputs else ("k", "v"):
            if part is not None:
                setattr(part, name, getattr(part, name).bfloat16())
    assert_equals_reference(inputs, values=2e-2, gradients=2e-2)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_any_number_of_threads_gives_the_same_bits():
    spec = GraphSpec(k=4, window=8, block=16, k_global=2, exact_until=100)
    routing, inputs = torch.randn(2, 300, 32), draw_inputs(2, 300, 300, window=8, dtype=torch.float32)
    inputs.positions = torch.arange(300).repeat(2, 1)

    def everything() -> list[Tensor]:
        inputs.neighbours = build_graph(routing, routing, inputs.positions, spec, impl="fused")
        output, usage, gradients = run(inputs, "fused")
        return [inputs.neighbours, output, usage, *gradients]

    with threads(1):
        expected = everything()
    with threads(2):
        actual = everything()
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fresh memory is full of NaN, or of the largest integer."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("width", [8, 16])
def test_every_output_is_written_and_no_scratch_is_read_before(width: int):
    assert torch.empty(3).isnan().all()
    for parts in (PARTS, ()):
        inputs = draw_inputs(3, 9, 15, 2, width, 3, parts, dtype=torch.float32)
        assert_equals_reference(inputs, values=1e-5, gradients=1e-4)


@pytest.mark.usefixtures("poisoned")
def test_without_a_query_all_gradients_are_zero():
    """A layer that every token has left."""
    inputs = draw_inputs(dtype=torch.float32)
    for part in (inputs, inputs.similarity, inputs.forget):
        part.q = part.q[:, :0]
    inputs.positions, inputs.neighbours = inputs.positions[:, :0], inputs.neighbours[:, :0]
    output, usage, gradients = run(inputs, "fused")
    assert output.shape == (2, 0, 2, 4)
    assert usage.shape == (2, 0, 2)
    assert all(torch.count_nonzero(gradient) == 0 for gradient in gradients)


def test_slices_of_a_longer_buffer_are_read_in_place():
    """What decoding hands over: the first keys of a buffer with room."""
    inputs = draw_inputs(dtype=torch.float32)
    expected = mesh_attention(inputs, "fused")[0]

    def with_room(x: Tensor) -> Tensor:
        return torch.cat([x, torch.full_like(x, torch.nan)], 1)[:, : x.shape[1]]

    inputs.k, inputs.v, inputs.forget.k = map(with_room, (inputs.k, inputs.v, inputs.forget.k))
    inputs.similarity.k = with_room(inputs.similarity.k)
    assert not inputs.k.is_contiguous()
    assert torch.equal(mesh_attention(inputs, "fused")[0], expected)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_extreme_logits_make_no_nan(size: float):
    inputs = draw_inputs(dtype=torch.float32)
    inputs.q, inputs.k = size * inputs.q, size * inputs.k
    inputs.forget = mapped(inputs.forget, lambda x: size * x)
    inputs.decay_rate = size * inputs.decay_rate
    output, usage, gradients = run(inputs, "fused")
    assert all(torch.isfinite(x).all() for x in (output, usage, *gradients))


def test_a_bad_value_stays_with_the_queries_that_see_it():
    inputs = draw_inputs(1, 9, 9, window=2, parts=(), dtype=torch.float32)
    inputs.positions = torch.arange(9)[None]
    inputs.v[0, 4] = torch.nan
    output = mesh_attention(inputs, "fused")[0]
    assert output.isnan().any(-1).any(-1)[0].nonzero()[:, 0].tolist() == [4, 5]


@pytest.mark.filterwarnings("ignore:Input .* is not a double precision:UserWarning")
def test_gradients_are_those_of_the_function():
    inputs, leaves = differentiable(draw_inputs(2, 3, 5, width=4, window=2, dtype=torch.float32))

    def function(*values: Tensor) -> Tensor:
        given = iter(values)
        return mesh_attention(mapped(inputs, lambda _: next(given)), "fused")[0]

    assert torch.autograd.gradcheck(function, leaves, eps=1e-2, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("parts", [PARTS, (), ("neighbours", "anchors")], ids=["all", "none", "some"])
def test_the_operator_keeps_the_rules_of_pytorch(parts: tuple[str, ...]):
    inputs, _ = differentiable(draw_inputs(parts=parts, dtype=torch.float32))
    arguments = fused_attention._flat(fused_attention._prepared(inputs))
    torch.library.opcheck(torch.ops.tmt.mesh_attention.default, arguments)
    forget, positions = -torch.rand(2, 12, 3).cumsum(1), torch.arange(12).repeat(2, 1)
    routing = torch.randn(2, 12, 8)
    means = block_means(routing, 4, 0, 3)
    graph_arguments = (routing, routing, positions, None, means, 2, 3, True, 4, 1, 6)
    torch.library.opcheck(torch.ops.tmt.build_graph.default, graph_arguments)
    torch.library.opcheck(torch.ops.tmt.block_means.default, (routing, 4, 0, 3))
    torch.library.opcheck(torch.ops.tmt.earliest_audible.default, (forget, forget, positions, -20.0))


def test_wide_windows_and_double_precision_take_the_plain_path():
    q = torch.zeros(1, 1, 1, 1)
    assert attention_impl(q, 16) == "fused"
    assert attention_impl(q.bfloat16(), 256) == "fused"
    assert attention_impl(q, 257) == "blocked"
    assert attention_impl(q.double(), 16) == "blocked"


def exact_routing(*shape: int) -> Tensor:
    """Multiples of 1/8: their products are exact in any order of summation."""
    return torch.randint(-8, 9, shape).float() / 8


@settings(max_examples=150)
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


def test_a_step_reads_nothing_but_its_edges():
    """Decoding: the keys of other tokens may be anything, so their number costs nothing."""
    inputs = draw_inputs(1, 1, 40, width=8, window=3, dtype=torch.float32)
    inputs.positions[:] = 39
    inputs.neighbours = torch.tensor([[[5, 6, 20, -1]]])
    inputs.forget.q = inputs.forget.k[:, 39:].clone()
    expected, _ = mesh_attention(inputs, "fused")
    unread = torch.ones(40, dtype=torch.bool)
    unread[[37, 38, 39, 5, 6, 20]] = False
    for tensor in (inputs.k, inputs.v, inputs.similarity.k, inputs.forget.k):
        tensor[:, unread] = torch.nan
    assert torch.equal(mesh_attention(inputs, "fused")[0], expected)


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


def test_a_gpu_needs_triton_and_other_devices_have_no_kernels(monkeypatch: pytest.MonkeyPatch):
    for found in (None, object()):
        backend._has_triton.cache_clear()
        monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name, found=found: found)
        assert backend.serves("cuda") == (found is not None)
    backend._has_triton.cache_clear()
    assert not backend.serves("mps")
