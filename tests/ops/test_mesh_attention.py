"""I4: blocked mesh attention equals the reference, values and gradients."""

from collections.abc import Iterator

import pytest
import torch
from drawing import PARTS, differentiable, draw_inputs, mapped
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tmt.ops.mesh import MeshInputs, blocked, mesh_attention, reference


@pytest.fixture(autouse=True, scope="module")
def several_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "QUERY_BLOCK", 4)
        yield


def run(inputs: MeshInputs, impl: str) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """Output, anchor use and the gradient of every input."""
    inputs, leaves = differentiable(inputs)
    output, usage = mesh_attention(inputs, impl)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).to(output.dtype)
    return output.detach(), usage, list(torch.autograd.grad((output * direction).sum(), leaves))


def assert_equal(inputs: MeshInputs, tolerance: float) -> None:
    expected, actual = run(inputs, "reference"), run(inputs, "blocked")
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    keys=st.sampled_from([1, 2, 3, 7, 13]),
    share=st.sampled_from([0.2, 0.6, 1.0]),
    window=st.integers(1, 6),
    parts=st.sets(st.sampled_from(PARTS)),
    batch=st.integers(1, 3),
    own_anchors=st.booleans(),
)
def test_blocked_equals_reference(seed, keys, share, window, parts, batch, own_anchors):
    torch.manual_seed(seed)
    queries = max(1, round(share * keys))
    rows = batch if own_anchors else 1
    assert_equal(draw_inputs(batch, queries, keys, window=window, parts=parts, anchor_rows=rows), 1e-10)


def test_blocked_equals_reference_in_single_precision():
    assert_equal(draw_inputs(dtype=torch.float32), 2e-5)


def test_a_window_beyond_everything_is_dense_causal_attention():
    inputs = draw_inputs(queries=9, keys=9, window=2**31, parts=())
    inputs.positions = torch.arange(9).expand(2, -1)
    q, k, v = (x.transpose(1, 2) for x in (inputs.q, inputs.k, inputs.v))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(mesh_attention(inputs)[0], expected)


@pytest.mark.parametrize("impl", ["reference", "blocked"])
def test_gradients_are_those_of_the_function(impl: str):
    torch.manual_seed(0)
    inputs, leaves = differentiable(draw_inputs(batch=2, queries=3, keys=5, width=2, window=2))

    def function(*values: Tensor) -> Tensor:
        given = iter(values)
        return mesh_attention(mapped(inputs, lambda _: next(given)), impl)[0]

    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("impl", ["reference", "blocked"])
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_extreme_logits_make_no_nan(impl: str, size: float):
    inputs = draw_inputs(dtype=torch.float32)
    inputs.q, inputs.k = size * inputs.q, size * inputs.k
    inputs.forget = mapped(inputs.forget, lambda x: size * x)
    inputs.decay_rate = size * inputs.decay_rate
    output, usage, gradients = run(inputs, impl)
    assert all(torch.isfinite(x).all() for x in (output, usage, *gradients))


def test_weights_are_a_softmax_with_decay_and_anchors():
    inputs = draw_inputs(parts=("neighbours", "anchors"))
    _, weights = reference.mesh_attention(inputs)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    inputs.decay_rate = torch.tensor([0.0, 0.7], dtype=torch.float64)
    _, decayed = reference.mesh_attention(inputs)
    torch.testing.assert_close(decayed[:, :, 0], weights[:, :, 0])
    distance = (inputs.positions[..., None] - torch.arange(11)).clamp(min=0)
    factor = 2 * torch.sigmoid(-0.7 * distance.double())
    torch.testing.assert_close(decayed[:, :, 1, :11], weights[:, :, 1, :11] * factor)
    torch.testing.assert_close(decayed[:, :, 1, 11:], weights[:, :, 1, 11:])


def test_anchor_use_is_the_detached_mean_over_heads():
    inputs = draw_inputs()
    _, weights = reference.mesh_attention(inputs)
    for impl in ("reference", "blocked"):
        live, _ = differentiable(inputs)
        _, usage = mesh_attention(live, impl)
        torch.testing.assert_close(usage, weights[..., -2:].mean(2))
        assert not usage.requires_grad


def test_only_the_query_itself_is_seen_where_nothing_else_is_kept():
    inputs = draw_inputs(window=1, parts=())
    own = inputs.positions[..., None, None].expand_as(inputs.q)
    torch.testing.assert_close(mesh_attention(inputs)[0], inputs.v.gather(1, own))


def test_no_query_gives_no_output():
    inputs = draw_inputs()
    for part in (inputs, inputs.similarity, inputs.forget):
        part.q = part.q[:, :0]
    inputs.anchors.scores = inputs.anchors.scores[:, :0]
    inputs.positions, inputs.neighbours = inputs.positions[:, :0], inputs.neighbours[:, :0]
    output, usage = mesh_attention(inputs)
    assert output.shape == (2, 0, 2, 4)
    assert usage.shape == (2, 0, 2)


def test_recomputed_scores_equal_saved_ones(monkeypatch: pytest.MonkeyPatch):
    inputs = draw_inputs(queries=9, keys=12)
    saved = run(inputs, "blocked")
    monkeypatch.setattr(blocked, "SAVE_LIMIT", 4)
    calls, attend = [], blocked._attend
    monkeypatch.setattr(blocked, "_attend", lambda *a: calls.append(1) or attend(*a))
    torch.testing.assert_close(run(inputs, "blocked"), saved, rtol=0, atol=0)
    assert len(calls) == 2 * 3  # three blocks of four queries, forward and again in the backward pass


def test_recomputing_stores_no_table_of_scores(monkeypatch: pytest.MonkeyPatch):
    """Beyond SAVE_LIMIT nothing of size queries × keys waits for the backward pass."""
    size = 40
    inputs, _ = differentiable(draw_inputs(batch=1, queries=size, keys=size, heads=1))
    kept: list[int] = []

    def stored() -> int:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            mesh_attention(inputs)
        return sum(kept)

    assert stored() > size * size / 2
    monkeypatch.setattr(blocked, "SAVE_LIMIT", 4)
    assert stored() < size * size / 2


def test_an_unknown_implementation_is_named():
    with pytest.raises(ValueError, match=r"'blokked'.*did you mean blocked"):
        mesh_attention(draw_inputs(), "blokked")
