"""I1: nothing depends on what comes later. I2: a prefix is the same alone, padded, and among other rows."""

import pytest
import torch
from builders import (
    MODES,
    SIZES,
    SWITCHES,
    TRAINED_OTHERWISE,
    TRANSFORMS,
    build,
    choices,
    draw_tokens,
    meets,
    switched,
)

from tmt.errors import InputError
from tmt.model import ARCHITECTURES

REFUSED = {
    ("hyena", "beyond", "formula"),
    ("triangular", "beyond", "fir"),
    ("triangular", "beyond", "formula"),
}
"""Values of switches that an architecture inherits and never takes."""

EXACT = 1e-10
LENGTH = 40
CUTS = (0, 1, 3, 17, 32)


def with_other_futures(tokens: torch.Tensor) -> torch.Tensor:
    """(1, S) to (1 + cuts, S): the sequence, then copies that differ after each cut."""
    rows = tokens.repeat(1 + len(CUTS), 1)
    for row, cut in enumerate(CUTS, start=1):
        rows[row, cut + 1 :] = (rows[row, cut + 1 :] + 1 + draw_tokens(LENGTH - cut - 1, seed=row) % 7) % 61
    return rows


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_value_of_every_switch_is_put_to_the_tests_below(architecture: str):
    config = ARCHITECTURES[architecture].config
    absent = {(architecture, *choice) for choice in choices(config) if not meets(architecture, *choice)}
    assert absent == {refused for refused in REFUSED if refused[0] == architecture}
    for _, field, value in absent:
        with pytest.raises(InputError, match=f"^{field}="):
            config(**{**SIZES[architecture], field: value})


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["plain", "fused"])
@pytest.mark.parametrize("name", SWITCHES)
def test_without_dropout_training_computes_the_same(name: str, dtype: torch.dtype):
    """What holds of the others outside training below holds in training."""
    model, tokens = switched(name, dtype=dtype), draw_tokens(2, LENGTH)
    read, trained = model(tokens).logits, model.train()(tokens).logits
    assert torch.equal(read, trained) == (name not in TRAINED_OTHERWISE)


@pytest.mark.parametrize(("name", "training"), MODES)
def test_changing_the_future_changes_no_earlier_logit(name: str, training: bool):
    model = switched(name).train(training)
    tokens = draw_tokens(1, LENGTH)
    with torch.no_grad():
        logits = model(with_other_futures(tokens)).logits
    for row, cut in enumerate(CUTS, start=1):
        torch.testing.assert_close(logits[row, : cut + 1], logits[0, : cut + 1], rtol=0, atol=EXACT)
        assert (logits[row, cut + 1] - logits[0, cut + 1]).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "training"), MODES)
def test_changing_the_future_in_single_precision(name: str, training: bool):
    """With the fused paths, which do not take float64."""
    model = switched(name, dtype=torch.float32).train(training)
    with torch.no_grad():
        logits = model(with_other_futures(draw_tokens(1, LENGTH))).logits
    for row, cut in enumerate(CUTS, start=1):
        close = 1e-4 if name in TRANSFORMS else 1e-5
        torch.testing.assert_close(logits[row, : cut + 1], logits[0, : cut + 1], rtol=0, atol=close)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["plain", "fused"])
@pytest.mark.parametrize(("name", "training"), [*MODES, ("target-depth", True)])
def test_no_gradient_flows_from_a_logit_to_a_later_embedding(name: str, dtype: torch.dtype, training: bool):
    model, length = switched(name, dtype=dtype).train(training), 21
    tokens = draw_tokens(1, length)
    embedded = model.embed(tokens).detach().requires_grad_()
    model.embed = lambda tokens: embedded
    logits = model(tokens).logits[0]
    for t in (0, 2, 11, length - 1):
        (gradient,) = torch.autograd.grad(logits[t].square().sum(), embedded, retain_graph=True)
        rounding = 1e4 * torch.finfo(dtype).eps if name in TRANSFORMS else 0
        assert (gradient[t + 1 :].abs() <= rounding).all()
        assert gradient[t].abs().max() > 1e-6
        assert t == 0 or gradient[:t].abs().max() > 1e-9


def test_the_probes_see_a_leak(monkeypatch: pytest.MonkeyPatch):
    """A window that reaches one token ahead must be noticed by both probes."""
    from tmt.ops.mesh import blocked

    kept = blocked._kept
    monkeypatch.setattr(blocked, "_kept", lambda inputs, rows, distance: kept(inputs, rows, distance + 1))
    model, tokens = build(graph="none"), draw_tokens(1, LENGTH)
    with torch.no_grad():
        logits = model(with_other_futures(tokens)).logits
    assert (logits[4, :18] - logits[0, :18]).abs().max() > 1e-3
    embedded = model.embed(tokens).detach().requires_grad_()
    model.embed = lambda tokens: embedded
    (gradient,) = torch.autograd.grad(model(tokens).logits[0, 5].square().sum(), embedded)
    assert gradient[6].abs().max() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize(("name", "training"), MODES)
def test_a_prefix_alone_gives_the_same_logits(name: str, training: bool):
    model, tokens = switched(name).train(training), draw_tokens(2, LENGTH)
    full = model(tokens).logits
    for length in (1, 2, 3, 17, 39):
        alone = model(tokens[:, :length]).logits
        torch.testing.assert_close(alone, full[:, :length], rtol=0, atol=EXACT)


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_padding_and_other_rows_do_not_matter(name: str):
    model, tokens = switched(name), draw_tokens(3, 30)
    lengths = torch.tensor([30, 1, 14])
    together = model(tokens, lengths=lengths).logits
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length]).logits
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=EXACT)


@torch.no_grad()
def test_diagnostics_of_a_prefix_do_not_depend_on_the_future():
    model, tokens = build(channel_decay=True), draw_tokens(1, LENGTH)
    short, long = model(tokens[:, :20]), model(tokens)
    for name in ("exit_masks", "confidences"):
        for a, b in zip(getattr(short, name), getattr(long, name), strict=True):
            torch.testing.assert_close(a, b[:, :20])
    torch.testing.assert_close(short.decay_scalars, long.decay_scalars[:, :20])
    early = long.graph_edges[0][0] < 20
    torch.testing.assert_close(short.graph_edges[0], long.graph_edges[0][:, early])
    torch.testing.assert_close(short.graph_edges[1], long.graph_edges[1][early])


@torch.no_grad()
@pytest.mark.parametrize("name", SWITCHES)
def test_padding_on_the_left_does_not_matter_either(name: str):
    model, tokens = switched(name), draw_tokens(3, 30)
    lengths = torch.tensor([30, 1, 14])
    right = tokens.clone()
    for row, length in enumerate(lengths.tolist()):
        right[row, :length] = tokens[row, 30 - length :]
    expected = model(right, lengths=lengths, return_state=True)
    padded = model(tokens, lengths=lengths, padding_side="left", return_state=True)
    for row, length in enumerate(lengths.tolist()):
        actual = padded.logits[row, 30 - length :]
        torch.testing.assert_close(actual, expected.logits[row, :length], rtol=0, atol=EXACT)
    following = draw_tokens(3, 1, seed=4)
    after = [model(following, output.state).logits for output in (padded, expected)]
    torch.testing.assert_close(*after, rtol=0, atol=EXACT)
    last = model(tokens, lengths=lengths, padding_side="left", last_only=True).logits
    torch.testing.assert_close(last[:, 0], padded.logits[:, -1], rtol=0, atol=EXACT)
    targets = draw_tokens(3, 30, seed=8)
    scored = model(tokens, lengths=lengths, padding_side="left", targets=targets)
    nll = torch.nn.functional.cross_entropy(padded.logits.transpose(1, 2), targets, reduction="none")
    torch.testing.assert_close(scored.nll[0], nll[0], rtol=0, atol=1e-8)
    torch.testing.assert_close(scored.nll[2, 16:], nll[2, 16:], rtol=0, atol=1e-8)
