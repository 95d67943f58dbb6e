"""What a layer of the mesh keeps for the backward pass, and that making the rest again changes nothing."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.layers import mesh_attention as layer
from tmt.layers.cache import Cache
from tmt.layers.graph import Graph
from tmt.layers.mesh_attention import MeshAttention
from tmt.layers.norm import unit_rows
from tmt.layers.rows import Rows
from tmt.ops import native
from tmt.ops.mesh import GraphSpec, cpu

LENGTH, WIDTH = 40, 64


def outcome(anchor_query: Any = "unrotated", left: int = 0) -> tuple[Tensor, list[Tensor]]:
    """A sum over the output, and what it depends on: the input, the anchors and all parameters.

    So many tokens have left before.
    """
    torch.manual_seed(0)
    options: dict[str, Any] = {"similarity": "cosine", "decay": "data", "decay_rate": 0.1, "routing_dim": 32}
    options |= {"builds_graph": True, "streams_memory": False, "anchor_query": anchor_query}
    attention = MeshAttention(WIDTH, 2, 1e-6, Graph(GraphSpec(k=3, window=4)), **options)
    cache = Cache(torch.zeros(2, LENGTH, dtype=torch.long), None, None, keep=False)
    everyone = Rows(cache.positions)
    rows = everyone if not left else Rows(cache.positions, torch.arange(left, 2 * LENGTH))
    x = torch.randn(2 * LENGTH, WIDTH, requires_grad=True)
    anchors = torch.randn(1, 5, WIDTH, requires_grad=True)
    rotation = attention.heads.rotation(everyone.positions)
    result = attention(rows.take(x), rows, (x, everyone), None, rotation, cache, anchors)
    total = (result.update * torch.randn(result.update.shape)).sum()
    return total, [x, anchors, *attention.parameters()]


@contextmanager
def kept_tensors() -> Iterator[list[Tensor]]:
    """All that operations keep for the backward pass."""
    kept: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        yield kept


@pytest.fixture
def operator_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Directions in which the fused operator computes, as it does."""
    calls: list[str] = []

    def counted(direction: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: [calls.append(direction), function(*arguments)][1]

    for direction in ("forward", "backward"):
        monkeypatch.setattr(cpu, direction, counted(direction, getattr(cpu, direction)))
    return calls


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
@pytest.mark.parametrize("left", [0, 7])
@pytest.mark.parametrize("anchor_query", ["unrotated", "rotated"])
def test_what_is_made_again_has_the_same_bits(
    anchor_query: str, left: int, operator_calls: list[str], monkeypatch: pytest.MonkeyPatch
):
    total, wanted = outcome(anchor_query, left)
    again = torch.autograd.grad(total, wanted)
    assert operator_calls == ["forward", "backward"]
    monkeypatch.setattr(layer, "checkpoint", lambda function, *arguments, **_: function(*arguments))
    monkeypatch.setattr(layer, "made_again", lambda *_: nullcontext())
    kept, wanted = outcome(anchor_query, left)
    assert torch.equal(total, kept)
    for a, b in zip(again, torch.autograd.grad(kept, wanted), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
def test_neither_scores_nor_rotated_queries_are_kept(monkeypatch: pytest.MonkeyPatch):
    """A tensor that an operator keeps keeps its Python object alive."""
    made: list[weakref.ref[Tensor]] = []
    finished = MeshAttention._finished

    def watched(*arguments: Any) -> Any:
        inputs = finished(*arguments)
        made.extend(map(weakref.ref, (inputs.q, inputs.anchors.scores)))
        return inputs

    monkeypatch.setattr(MeshAttention, "_finished", watched)
    total, _ = outcome()
    assert [ref() for ref in made] == [None, None]
    monkeypatch.setattr(layer, "made_again", lambda *_: nullcontext())
    made.clear()
    total, _ = outcome()
    assert None not in [ref() for ref in made]
    assert total.requires_grad


@pytest.mark.skipif(native._compiler() is None, reason="no C compiler")
def test_one_may_go_back_twice():
    total, wanted = outcome()
    first, second = (torch.autograd.grad(total, wanted, retain_graph=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_rows_have_the_gradient_of_torch(dtype: torch.dtype):
    x = torch.randn(5, 32, dtype=dtype)
    x[2] *= 1e-3
    rows = [x.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn(5, 32, dtype=dtype)
    ours, wanted = unit_rows(rows[0]), F.normalize(rows[1], dim=-1)
    torch.testing.assert_close(ours, wanted)
    for y in (ours, wanted):
        (y * weight).sum().backward()
    torch.testing.assert_close(rows[0].grad, rows[1].grad)


def test_of_routing_vectors_only_the_unit_rows_are_kept():
    with kept_tensors() as kept:
        y = unit_rows(torch.randn(5, 32, requires_grad=True))
    assert {x.data_ptr() for x in kept if x.numel() > 5} == {y.data_ptr()}


def test_a_row_of_zeros_stays_zero():
    x = torch.zeros(2, 32, requires_grad=True)
    y = unit_rows(x)
    y.sum().backward()
    assert not y.any()
    assert x.grad is not None
    assert x.grad.isfinite().all()
