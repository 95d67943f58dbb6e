"""I4 for the compiled mesh: values and gradients of the reference, the same bits on any number of threads."""

from collections.abc import Callable

import pytest
import torch
from drawing import PARTS, differentiable, draw_inputs, mapped
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops.mesh import MeshInputs, attention_impl, backend, cpu, fused_attention, mesh_attention

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
    direction = (
        torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).bfloat16().to(output.dtype)
    )
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


@settings(max_examples=40)
@given(**SHAPES)
def test_single_precision_equals_the_reference(**shape):
    assert_equals_reference(draw(**shape), values=1e-5, gradients=1e-4)


@settings(max_examples=15)
@given(**SHAPES)
def test_half_precision_equals_the_reference(**shape):
    """Backward takes the sum of output times gradient, the output rounded: its error grows with √width."""
    inputs = draw(**shape)
    for part in (inputs, inputs.anchors):
        for name in ("q", "k", "v") if part is inputs else ("v",):
            if part is not None:
                setattr(part, name, getattr(part, name).bfloat16())
    assert_equals_reference(inputs, values=2e-2, gradients=3e-2 * shape["width"] ** 0.5)


@pytest.mark.usefixtures("lanes")
def test_any_number_of_threads_gives_the_same_bits(threads: Callable[[int], None]):
    inputs, results = draw_inputs(2, 300, 300, window=8, dtype=torch.float32), []
    for count in (1, 2):
        threads(count)
        output, usage, gradients = run(inputs, "fused")
        results.append([output, usage, *gradients])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.usefixtures("poisoned", "lanes")
@pytest.mark.parametrize("width", [12, 16])
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
    inputs.anchors.scores = inputs.anchors.scores[:, :0]
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


@pytest.mark.usefixtures("lanes")
def test_half_precision_with_every_part():
    inputs = draw_inputs(2, 30, 40, 3, 16, 6, dtype=torch.float32)
    inputs.q, inputs.k, inputs.v = (x.bfloat16() for x in (inputs.q, inputs.k, inputs.v))
    inputs.anchors.v = inputs.anchors.v.bfloat16()
    assert_equals_reference(inputs, values=2e-2, gradients=0.12)


@pytest.mark.usefixtures("lanes")
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


def test_wide_windows_and_double_precision_take_the_plain_path():
    q = torch.zeros(1, 1, 1, 1)
    assert attention_impl(q, 16) == "fused"
    assert attention_impl(q.bfloat16(), 256) == "fused"
    assert attention_impl(q, 257) == "blocked"
    assert attention_impl(q.double(), 16) == "blocked"


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


def test_a_gpu_needs_triton_and_other_devices_have_no_kernels(monkeypatch: pytest.MonkeyPatch):
    for found in (None, object()):
        backend._has_triton.cache_clear()
        monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name, found=found: found)
        assert backend.serves("cuda") == (found is not None)
    backend._has_triton.cache_clear()
    assert not backend.serves("mps")
