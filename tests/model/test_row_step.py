"""A native step of one row is the layer: same logits and state, for the same weights, wherever they are."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import SWITCHES, build, draw_tokens, set_thresholds
from torch import Tensor, nn

from tmt.layers import row_step
from tmt.model.base import LanguageModel
from tmt.ops import native, step

pytestmark = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")

WIDE = {
    "tmt": dict(d_model=64, routing_dim=16, ffn_stream_dim=48),
    "transformer": dict(d_model=64, ffn_dim=48),
}
PROMPT, LENGTH = 9, 30
STEPPING = [
    "transformer", "transformer-untied", "tmt", "no-successors", "window-of-one", "hierarchical",
    "hierarchical-always", "rebuild-every-2", "distance-decay", "data-decay", "no-exits", "target-depth",
    "random-exits", "project-exited", "project-exited-shared-graph", "two-landings", "swiglu", "no-memory",
    "dense-middle",
]  # fmt: skip
"""Switches whose layers, some of them at least, have a native step."""


def wide(name: str, **overrides: Any) -> LanguageModel:
    architecture, switches = SWITCHES[name]
    overrides = {**WIDE[architecture], **switches, **overrides}
    model = build(architecture, dtype=torch.float32, **overrides)
    if name == "target-depth":
        set_thresholds(model, 0.5)
    return model


def read(
    model: LanguageModel, tokens: Tensor, change: Callable[[], object] | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Logits of a prompt and then every single token, with a change after the prompt; the last state."""
    state, logits = None, []
    for part in tokens.split([PROMPT] + [1] * (tokens.shape[1] - PROMPT), 1):
        output = model(part, state, return_state=True, return_diagnostics=False)
        state = output.state
        logits.append(output.logits)
        if len(logits) == 1 and change is not None:
            change()
    return torch.cat(logits, 1), state


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]:
    """`read` without native steps."""

    def run(*args: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        with monkeypatch.context() as patch:
            patch.setattr(step, "available", lambda x, head_width: False)
            return read(*args)

    return run


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Positions at which a native step ran."""
    ran = []
    for name in ("mesh_layer", "before_attention"):
        original = getattr(step, name)
        monkeypatch.setattr(step, name, lambda layer, run=original: (ran.append(layer.position), run(layer)))
    return ran


@torch.no_grad()
@pytest.mark.parametrize("name", STEPPING)
def test_it_is_the_layer(name: str, ordinary: Callable, steps: list[int]):
    model, tokens = wide(name), draw_tokens(1, LENGTH)
    (logits, state), (expected, kept) = read(model, tokens), ordinary(model, tokens)
    assert set(steps) == set(range(PROMPT, LENGTH))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[0], model(tokens).logits[0], rtol=0, atol=1e-4)
    assert len(state) == len(kept)
    for ours, theirs in zip(state, kept, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["channel-decay", "bilinear", "states-route", "no-graph", "shared-streams", "dense"]
)
def test_other_layers_do_not_step(name: str, steps: list[int]):
    read(wide(name), draw_tokens(1, LENGTH))
    assert not steps


@torch.no_grad()
@pytest.mark.parametrize(
    "narrow", [dict(d_model=32), dict(routing_dim=8), dict(ffn_stream_dim=12)], ids=lambda sizes: str(sizes)
)
def test_sizes_that_are_no_whole_vectors_do_not_step(narrow: dict[str, int], steps: list[int]):
    read(wide("tmt", **narrow), draw_tokens(1, LENGTH))
    assert not steps


@torch.no_grad()
def test_neither_do_several_rows_or_padding(steps: list[int]):
    model, tokens = wide("tmt"), draw_tokens(2, LENGTH)
    read(model, tokens)
    state = model(tokens[:1], return_state=True).state
    model(tokens[:1, :1], state, lengths=torch.tensor([1]), return_diagnostics=False)
    assert not steps


def test_gradients_are_recorded_by_the_ordinary_path(steps: list[int]):
    model, tokens = wide("tmt"), draw_tokens(1, LENGTH)
    logits, _ = read(model, tokens)
    logits.sum().backward()
    assert not steps
    assert model.blocks[0].attention.heads.query.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_it_counts_what_the_layer_counts(monkeypatch: pytest.MonkeyPatch, steps: list[int]):
    model, tokens = wide("tmt"), draw_tokens(1, LENGTH)
    _, state = read(model, tokens)
    copied = tuple(part.clone() for part in state)
    ours = model(tokens[:, :1], state, return_diagnostics=False)
    ran = len(steps)
    monkeypatch.setattr(step, "available", lambda x, head_width: False)
    other = model(tokens[:, :1], copied, return_diagnostics=False)
    assert len(steps) == ran
    assert (ours.flops, ours.layer_tokens) == (other.flops, other.layer_tokens)


@torch.no_grad()
@pytest.mark.parametrize("name", ["tmt", "transformer"])
def test_weights_are_read_where_they_are(name: str, ordinary: Callable, steps: list[int]):
    """Moved, exchanged or replaced between two steps, as quantising, loading and adapting do."""
    model, tokens = wide(name), draw_tokens(1, LENGTH)
    read(model, tokens)
    block = model.blocks[0]

    def change():
        heads = block.attention.heads if name == "tmt" else block.attention
        heads.key.weight = nn.Parameter(heads.key.weight.flip(0))
        heads.value.weight.data = heads.value.weight.data.flip(1).contiguous()
        block.ffn_norm = copy.deepcopy(block.ffn_norm)
        block.ffn_norm.weight.data.mul_(3)
        heads.output.weight.data = heads.output.weight.data.t().contiguous().t()

    before = len(steps)
    expected = copy.deepcopy(model)
    logits, _ = read(model, tokens, change)
    assert len(steps) > before
    model, block = expected, expected.blocks[0]
    torch.testing.assert_close(logits, ordinary(model, tokens, change)[0], rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_watched_or_wrapped_part_is_called():
    model, tokens = wide("tmt", exit_objective="none"), draw_tokens(1, LENGTH)
    read(model, tokens)
    seen = []
    with model.blocks[0].ffn.syntax.register_forward_hook(lambda *call: seen.append("watched")):
        read(model, tokens)
    model.blocks[1].ffn.semantics = _Seen(model.blocks[1].ffn.semantics, seen)
    read(model, tokens)
    assert seen == (1 + LENGTH - PROMPT) * ["watched"] + (1 + LENGTH - PROMPT) * ["wrapped"]


class _Seen(nn.Module):
    def __init__(self, inner: nn.Linear, seen: list[str]):
        super().__init__()
        self.inner, self.seen = inner, seen

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append("wrapped")
        return self.inner(x)


@torch.no_grad()
def test_a_prompt_read_in_bfloat16_goes_on_in_float32(steps: list[int]):
    model, tokens = wide("tmt"), draw_tokens(1, LENGTH)
    with torch.autocast("cpu", torch.bfloat16):
        state = model(tokens[:, :-1], return_state=True).state
    expected = model(tokens).logits[:, -1]
    logits = model(tokens[:, -1:], state, return_diagnostics=False).logits[:, 0]
    assert steps
    torch.testing.assert_close(logits, expected, rtol=0, atol=0.2 * float(expected.abs().max()))


def test_a_plan_does_not_keep_its_model(steps: list[int]):
    model = wide("no-exits")
    with torch.no_grad():
        read(model, draw_tokens(1, LENGTH))
    blocks = list(model.blocks)
    assert all(block in row_step._PLANS for block in blocks)
    count = len(row_step._PLANS)
    del model, blocks
    assert len(row_step._PLANS) <= count - 4
