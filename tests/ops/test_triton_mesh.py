"""I4: the Triton kernels equal the reference, values and gradients; interpreted where no GPU is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawing import PARTS, differentiable, draw_inputs, draw_positions, mapped
from interpreter import compiled, correct_half_precision
from torch import Tensor

from tmt.ops.mesh import Anchors, GraphSpec, MeshInputs, block_means, mesh_attention
from tmt.ops.mesh import build_graph as choose_neighbours

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

triton = pytest.importorskip("triton")

from tmt.ops.mesh import triton_attention, triton_graph, triton_operands  # noqa: E402

poisoned: list[Tensor] = []


@pytest.fixture(autouse=True)
def kernels_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    correct_half_precision(monkeypatch)
    monkeypatch.setattr(triton_operands, "BLOCK", 16)
    monkeypatch.setattr(triton_attention, "ANCHOR_CHUNK", 16)
    monkeypatch.setattr(triton_attention, "EDGES", 2)
    monkeypatch.setattr(triton_graph, "BLOCK", 16)
    monkeypatch.setattr(triton_graph, "PANEL", 16)


@pytest.fixture(autouse=True)
def unwritten_memory_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new tensor starts as NaN, or as an index far outside."""
    empty = torch.empty
    poisoned.clear()

    def poison(*arguments, **options) -> Tensor:
        tensor = empty(*arguments, **options)
        poisoned.append(tensor.fill_(torch.nan if tensor.is_floating_point() else -(10**9)))
        return tensor

    monkeypatch.setattr(torch, "empty", poison)


def on_device(inputs: MeshInputs, dtype: torch.dtype = torch.float32) -> MeshInputs:
    moved = mapped(inputs, lambda x: x.to(DEVICE, dtype))
    neighbours = None if inputs.neighbours is None else inputs.neighbours.to(DEVICE)
    return replace(moved, positions=inputs.positions.to(DEVICE), neighbours=neighbours)


def run(inputs: MeshInputs, direction: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Output, anchor use and the gradient of every input, in the order of their fields."""
    output, lse, usage = triton_attention.forward(inputs)
    assert lse.shape == output.shape[:3]
    gradients = triton_attention.backward(inputs, direction, output, lse)
    return output, usage, [x for x in vars(gradients).values() if x is not None]


def expected(inputs: MeshInputs, direction: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The same from the reference in double precision."""
    inputs, leaves = differentiable(on_device(inputs, torch.float64))
    output, usage = mesh_attention(inputs, "reference")
    gradients = torch.autograd.grad((output * direction.double()).sum(), leaves)
    return output.detach(), usage if usage is not None else output.new_zeros(*output.shape[:2], 0), gradients


def assert_near(actual: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Largest error, relative to the largest value where that is above 1."""
    assert actual.shape == wanted.shape
    if wanted.numel():
        error = (actual.double() - wanted).abs().max() / wanted.abs().max().clamp(min=1)
        assert error <= tolerance, f"{error:.1e}"


def check(inputs: MeshInputs, values: float = 1e-5, slopes: float = 1e-4) -> None:
    direction = torch.randn(inputs.q.shape).to(inputs.q)
    actual, wanted = run(inputs, direction), expected(inputs, direction)
    assert actual[0].dtype == inputs.q.dtype
    assert_near(actual[0], wanted[0], values)
    assert_near(actual[1], wanted[1], values)
    _, leaves = differentiable(inputs)
    assert len(actual[2]) == len(wanted[2]) == len(leaves)
    for gradient, slope, leaf in zip(actual[2], wanted[2], leaves, strict=True):
        assert gradient.dtype == leaf.dtype
        assert_near(gradient, slope, slopes)


SOME_PARTS = [PARTS, (), *((part,) for part in PARTS), *(tuple({*PARTS} - {part}) for part in PARTS)]


@pytest.mark.parametrize("parts", SOME_PARTS, ids=lambda parts: "+".join(sorted(parts)) or "window")
def test_every_part_alone_and_left_out(parts: tuple[str, ...]):
    check(
        on_device(
            draw_inputs(
                batch=1,
                queries=17,
                keys=18,
                heads=1 + (parts == PARTS),
                width=5,
                parts=parts,
                dtype=torch.float32,
            )
        )
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"queries": 1, "keys": 1, "batch": 1, "heads": 1, "width": 1, "window": 1},
        {"queries": 1, "keys": 20, "batch": 3},
        {"queries": 5, "keys": 18, "batch": 1, "heads": 3, "width": 17},
        {"queries": 33, "keys": 34, "heads": 1, "window": 18, "anchor_rows": 2},
        {"queries": 12, "keys": 18, "batch": 1, "heads": 1, "window": 2**31},
    ],
    ids=str,
)
def test_any_shape(sizes: dict[str, int]):
    check(on_device(draw_inputs(dtype=torch.float32, **sizes)))


@pytest.mark.parametrize("rows", [1, 2])
def test_more_anchors_than_a_block_holds(rows: int):
    inputs = draw_inputs(parts=("decay",), queries=17, keys=17, heads=1, dtype=torch.float32)
    inputs.anchors = Anchors(torch.randn(2, 17, 1, 17), torch.randn(rows, 17, 1, 4))
    check(on_device(inputs))


def test_many_queries_may_choose_one_key():
    inputs = on_device(draw_inputs(1, 17, 18, heads=1, window=1, dtype=torch.float32))
    inputs.neighbours = (inputs.positions[..., None] > 0).int() - 1
    check(inputs)


def test_half_precision():
    inputs = draw_inputs(batch=1, queries=17, keys=18, width=8, dtype=torch.float32)
    check(on_device(inputs, torch.bfloat16), values=1e-2, slopes=3e-2)  # the output is rounded in between


def test_biases_may_be_finer_than_the_keys():
    inputs = on_device(draw_inputs(1, 9, 12, dtype=torch.float32))
    inputs.q, inputs.k, inputs.v = (x.bfloat16() for x in (inputs.q, inputs.k, inputs.v))
    inputs.anchors.v = inputs.anchors.v.bfloat16()
    check(inputs, values=1e-2, slopes=3e-2)


def test_keys_may_be_the_front_of_a_longer_buffer():
    inputs = on_device(draw_inputs(queries=9, keys=17, heads=1, dtype=torch.float32))

    def front(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_full((len(x), 3, *x.shape[2:]), torch.nan)], 1)[:, : x.shape[1]]

    inputs.k, inputs.v = front(inputs.k), front(inputs.v)
    inputs.similarity.k, inputs.forget.k = front(inputs.similarity.k), front(inputs.forget.k)
    check(inputs)


@pytest.mark.parametrize("size", [1e2, 1e8])
def test_extreme_logits_make_no_nan(size: float):
    inputs = on_device(draw_inputs(1, 17, 18, heads=1, dtype=torch.float32))
    inputs.q, inputs.k = size * inputs.q, size * inputs.k
    inputs.forget = mapped(inputs.forget, lambda x: size * x)
    inputs.decay_rate = size * inputs.decay_rate
    output, usage, gradients = run(inputs, torch.randn_like(inputs.q))
    assert all(torch.isfinite(x).all() for x in (output, usage, *gradients))


def test_equal_inputs_give_equal_bits():
    inputs = on_device(draw_inputs(1, 17, 18, heads=1, dtype=torch.float32))
    direction = torch.randn_like(inputs.q)
    first, second = run(inputs, direction), run(inputs, direction)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert len(poisoned) > 2 * 3  # the outputs at least started as NaN


def test_the_future_changes_no_bit():
    inputs = on_device(draw_inputs(batch=1, queries=18, keys=18, dtype=torch.float32))
    before = triton_attention.forward(inputs)
    for rows in (inputs, inputs.similarity, inputs.forget):
        rows.k[:, 10:] = torch.randn_like(rows.k[:, 10:])
    inputs.v[:, 10:] = torch.randn_like(inputs.v[:, 10:])
    for old, new in zip(before, triton_attention.forward(inputs), strict=True):
        assert torch.equal(new[:, :10], old[:, :10])
        assert not torch.equal(new, old)


def test_no_query_gives_no_output_and_no_gradient():
    inputs = on_device(draw_inputs(dtype=torch.float32))
    for part in (inputs, inputs.similarity, inputs.forget):
        part.q = part.q[:, :0]
    inputs.anchors.scores = inputs.anchors.scores[:, :0]
    inputs.positions, inputs.neighbours = inputs.positions[:, :0], inputs.neighbours[:, :0]
    output, usage, gradients = run(inputs, inputs.q)
    assert output.shape == (2, 0, 2, 4)
    assert usage.shape == (2, 0, 2)
    assert all((x == 0).all() for x in gradients)


@pytest.mark.learning
def test_the_kernels_compile_for_a_gpu(tmp_path: Path):
    """What Triton's interpreter takes its compiler may refuse; no GPU is needed to ask it."""
    kernels = {line.split()[0] for line in compiled("compile_triton_mesh.py", tmp_path)}
    backward = {"queries_backward", "window_backward", "graph_backward", "anchors_backward"}
    assert kernels == {"attend", "anchor_usage", *backward, "search_range", "search_blocks"}


def draw_routing(batch: int, length: int, width: int = 5) -> Tensor:
    """Vectors whose products are exact in float32, often a level apart or half a level."""
    return (torch.randint(-128, 128, (batch, length, width)) / 256).to(DEVICE)


def both(routing_q: Tensor, routing_k: Tensor, positions: Tensor, spec: GraphSpec, earliest=None) -> Tensor:
    positions = positions.to(DEVICE)
    wanted = choose_neighbours(routing_q, routing_k, positions, spec, earliest, impl="reference")
    means = block_means(routing_k, spec.block, 0, routing_k.shape[1] // spec.block)
    actual = triton_graph.build_graph(routing_q, routing_k, positions, spec, earliest, means)
    assert torch.equal(actual, wanted)
    return actual


@pytest.mark.parametrize(
    ("spec", "bounded"),
    [
        (GraphSpec(k=3, window=2), False),
        (GraphSpec(k=1, window=1, successors=False), True),
        (GraphSpec(k=17, window=3), True),
        (GraphSpec(k=0, window=3), False),
        (GraphSpec(k=2, window=2, exact_until=9, block=4, k_global=1), True),
        (GraphSpec(k=3, window=1, exact_until=0, block=2, k_global=3, successors=False), False),
        (GraphSpec(k=2, window=2, exact_until=9, block=4, k_global=0), False),
        (GraphSpec("recent", k=2, window=2), True),
        (GraphSpec("random", k=2, window=2), True),
    ],
    ids=lambda value: f"{value.kind}-{value.k}-{value.exact_until}" if isinstance(value, GraphSpec) else "",
)
def test_the_graph_equals_the_reference(spec: GraphSpec, bounded: bool):
    queries, keys = (17, 18) if spec.k > 16 else (7, 26)
    positions = draw_positions(2, queries, keys)
    earliest = (positions * torch.rand(positions.shape)).long().to(DEVICE) if bounded else None
    both(draw_routing(2, queries), draw_routing(2, keys), positions, spec, earliest)


def test_the_nearest_of_equals_is_chosen():
    routing = torch.ones(1, 12, 1, device=DEVICE)
    spec = GraphSpec(k=2, window=3, successors=False)
    table = both(routing, routing, torch.arange(12)[None], spec)
    assert table[0, 11].tolist() == [8, 7]
    assert table[0, 3].tolist() == [0, -1]
    assert table[0, 2].tolist() == [-1, -1]


def test_similarities_are_rounded_half_to_even():
    levels = torch.tensor([2.5, 1.5, -0.5, -1.5, -2.5, 0.5, 2.25, -0.25, 0.0])
    routing_k = (levels / 2**14)[None, :, None].to(DEVICE)
    one = torch.ones(1, 1, 1, device=DEVICE)
    table = both(one, routing_k, torch.tensor([[8]]), GraphSpec(k=8, window=1, successors=False))
    assert table.tolist() == [[[6, 1, 0, 7, 5, 2, 4, 3]]]


def test_wide_routing_is_multiplied_in_panels():
    routing = draw_routing(1, 18, width=35)
    both(routing, routing, torch.arange(18)[None], GraphSpec(k=2, window=1))


def test_the_graph_of_half_precision_vectors():
    routing = draw_routing(1, 18).bfloat16()
    both(routing, routing, torch.arange(18)[None], GraphSpec(k=2, window=1))


def test_known_means_are_taken():
    routing, positions = draw_routing(1, 16), torch.arange(12, 16, device=DEVICE)[None]
    spec = GraphSpec(k=2, window=1, exact_until=8, block=2, k_global=1, successors=False)
    means = routing.unflatten(1, (8, 2)).mean(2)
    table = choose_neighbours(routing[:, 12:], routing, positions, spec, impl="reference")
    assert torch.equal(
        triton_graph.build_graph(routing[:, 12:], routing, positions, spec, None, means), table
    )
    changed = triton_graph.build_graph(routing[:, 12:], routing, positions, spec, None, -means)
    assert not torch.equal(changed, table)


def test_no_query_gives_an_empty_table():
    spec = GraphSpec(k=2)
    routing = torch.ones(2, 5, 3, device=DEVICE)
    positions = torch.zeros(2, 0, dtype=torch.long, device=DEVICE)
    table = triton_graph.build_graph(routing[:, :0], routing, positions, spec, None, routing[:, :0])
    assert table.shape == (2, 0, spec.width)
