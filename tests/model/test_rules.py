"""Every row of switches keeps what `tmt verify` promises: the rules are the proof, here as for any model."""

import pytest
import torch
from builders import SIZES, SWITCHES, build, choices, draw_tokens, meets, switched

from tmt.errors import InputError
from tmt.model import ARCHITECTURES
from tmt.verify import RULES, check, subject_of

REFUSED = {
    ("hyena", "beyond", "formula"),
    ("triangular", "beyond", "fir"),
    ("triangular", "beyond", "formula"),
}
"""Values of switches that an architecture inherits and never takes."""

LENGTH = 16
"""Past the windows, blocks and kernels of the rows."""
EXACT = ("future", "cached")
"""What single precision could hide is looked at in float64 as well, on the paths that are not fused."""
IN_USE = [rule for rule in RULES if rule not in ("distribution", "bytes")]
"""All but one that takes a pass for every token of the vocabulary, and one that needs a tokenizer."""

BROKEN = {"tmt, anchor_query=rotated": {"shift"}}
NOT_CLAIMED = {
    "target-depth": {"documents", "training"},
    "stream-memory": {"documents", "cached", "ragged", "reordered", "stored", "twice"},
}
RELATIVE = ("transformer", "golf", "tmt")
BY_POSITION = {"channel-decay", "random-exits", "position-exits", "everything"}


def not_claimed(name: str) -> set[str]:
    relative = SWITCHES[name][0] in RELATIVE and name not in BY_POSITION
    return NOT_CLAIMED.get(name, {"documents"}) | (set() if relative else {"shift"})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_value_of_every_switch_has_a_row(architecture: str):
    config = ARCHITECTURES[architecture].config
    absent = {(architecture, *choice) for choice in choices(config) if not meets(architecture, *choice)}
    assert absent == {refused for refused in REFUSED if refused[0] == architecture}
    for _, field, value in absent:
        with pytest.raises(InputError, match=f"^{field}="):
            config(**{**SIZES[architecture], field: value})


@pytest.mark.parametrize("name", SWITCHES)
def test_in_single_precision_with_the_fused_paths(name: str):
    report = check(
        subject_of(switched(name, dtype=torch.float32)), only=IN_USE, length=LENGTH, dtypes=[torch.float32]
    )
    assert {finding.rule for finding in report.broken} == BROKEN.get(name, set()), list(
        map(str, report.broken)
    )
    assert {finding.rule for finding in report if finding.verdict == "not claimed"} == not_claimed(name)


@pytest.mark.parametrize("name", SWITCHES)
def test_in_double_precision_with_the_plain_paths(name: str):
    check(subject_of(switched(name)), only=EXACT, length=LENGTH, dtypes=[torch.float64]).require()


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_the_past_is_heard(name: str):
    """Without which the rules would hold of a model that is deaf."""
    model, tokens = switched(name), draw_tokens(1, LENGTH)
    other = tokens.clone()
    other[0, 3:5] = (other[0, 3:5] + 7) % 61
    moved = (model(other).logits - model(tokens).logits).abs().amax(-1)[0]
    assert (moved[:3] == 0).all() or moved[:3].max() < 1e-10
    assert (moved[3:7] > 1e-3).all()


def test_a_window_that_reaches_one_token_ahead_is_named(monkeypatch: pytest.MonkeyPatch):
    from tmt.ops.mesh import blocked

    kept = blocked._kept
    monkeypatch.setattr(blocked, "_kept", lambda inputs, rows, distance: kept(inputs, rows, distance + 1))
    only = ["future", "gradient", "prefix"]
    report = check(subject_of(build(graph="none")), only=only, length=LENGTH, dtypes=[torch.float64])
    assert [finding.rule for finding in report.broken] == only


@torch.no_grad()
def test_diagnostics_of_a_prefix_do_not_depend_on_the_future():
    model, tokens = build(channel_decay=True), draw_tokens(1, 40)
    short, long = model(tokens[:, :20]), model(tokens)
    for name in ("exit_masks", "confidences"):
        for a, b in zip(getattr(short, name), getattr(long, name), strict=True):
            torch.testing.assert_close(a, b[:, :20])
    torch.testing.assert_close(short.decay_scalars, long.decay_scalars[:, :20])
    early = long.graph_edges[0][0] < 20
    torch.testing.assert_close(short.graph_edges[0], long.graph_edges[0][:, early])
    torch.testing.assert_close(short.graph_edges[1], long.graph_edges[1][early])
