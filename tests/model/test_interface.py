"""The published interface, its output shapes, and what it refuses."""

import pytest
import torch
from builders import VOCAB, build, draw_tokens

from tmt.model import ARCHITECTURES, diagnostics
from tmt.training.loss import compute_loss


def test_the_published_snippet():
    from tmt.model.config import TMTConfig
    from tmt.model.model import TMTModel, TMTOutput

    config = TMTConfig(
        vocab_size=97, d_model=32, n_heads=4, n_layers=3, graph_k=8, exit_threshold=0.85, memory_anchors=16
    )
    model = TMTModel(config).eval()
    out = model(torch.randint(0, 97, (2, 40)))
    assert isinstance(out, TMTOutput)
    assert out.logits.shape == (2, 40, 97)
    assert len(out.exit_masks) == len(out.confidences) == 3
    assert all(mask.shape == (2, 40) and mask.dtype == torch.bool for mask in out.exit_masks)
    assert all(c.shape == (2, 40) and ((c > 0) & (c < 1)).all() for c in out.confidences)
    edge_index, edge_weight = out.graph_edges
    assert edge_index.shape == (2, len(edge_weight))
    assert edge_index.dtype == torch.int64
    assert out.memory_state.shape == (16, 32)
    assert out.decay_scalars.shape == (2, 40, 32)


@torch.no_grad()
@pytest.mark.parametrize("overrides", [{}, dict(graph="none"), dict(exit_objective="none", local_window=2)])
def test_edges_run_from_the_past_to_their_receiver(overrides: dict):
    output = build(**overrides)(draw_tokens(3, 20))
    (receiver, neighbour), weight = output.graph_edges
    assert torch.equal(receiver // 20, neighbour // 20)
    assert (neighbour <= receiver).all()
    assert len(set(zip(receiver.tolist(), neighbour.tolist(), strict=True))) == len(weight)
    own = receiver == neighbour
    assert own.sum() == 60
    torch.testing.assert_close(weight[own], torch.ones_like(weight[own]))
    assert (weight.abs() <= 1 + 1e-9).all()
    window = build(**overrides).config.local_window
    for t in (0, 5, 19):
        assert set(range(max(0, t - window + 1), t + 1)) <= set(neighbour[receiver == t].tolist())


@torch.no_grad()
def test_edges_of_a_cached_call_stay_within_its_tokens():
    model, tokens = build(), draw_tokens(2, 20)
    state = model(tokens[:, :12], return_state=True).state
    index, _ = model(tokens[:, 12:], state).graph_edges
    assert index.min() >= 0
    assert index.max() < 16
    assert torch.equal(index[0] // 8, index[1] // 8)


NAMES = ("exit_masks", "confidences", "graph_edges", "memory_state", "decay_scalars")


@pytest.mark.parametrize("training", [False, True])
def test_diagnostics_can_be_read_after_any_pass_but_a_training_step(training: bool):
    model, tokens = build().train(training), draw_tokens(2, 9)
    assert all(getattr(model(tokens), name) is not None for name in NAMES)
    assert all(getattr(model(tokens, return_diagnostics=False), name) is None for name in NAMES)
    scored = model(tokens, targets=tokens)
    assert all((getattr(scored, name) is None) == training for name in NAMES)
    asked = model(tokens, targets=tokens, return_diagnostics=True)
    assert all(getattr(asked, name) is not None for name in NAMES)


def test_diagnostics_are_made_when_they_are_read(monkeypatch: pytest.MonkeyPatch):
    made = []
    monkeypatch.setattr(diagnostics, "edge_list", lambda trace: made.append(trace) or (trace, trace))
    output = build()(draw_tokens(2, 9))
    assert made == []
    assert output.graph_edges is output.graph_edges
    assert made == [output.traces[3]]


@pytest.mark.parametrize("objective", ["budget", "entropy", "learned"])
def test_the_published_loss_trains_the_gates(objective: str):
    model, tokens = build(exit_objective=objective, graph="none").train(), draw_tokens(2, 20)
    output = model(tokens)
    _, _, gate = compute_loss(output.logits, draw_tokens(2, 20, seed=2), output.confidences)
    gate.backward()
    for layer, module in model.gates.items():
        assert module.score.weight.grad.abs().max() > 0, layer


@torch.no_grad()
@pytest.mark.parametrize("channel_decay", [False, True])
def test_diagnostics_of_rows_padded_on_the_left_stand_at_their_tokens(channel_decay: bool):
    model, tokens, lengths = build(channel_decay=channel_decay), draw_tokens(2, 10), torch.tensor([10, 6])
    left = tokens.clone()
    left[1, 4:] = tokens[1, :6]
    right, padded = (
        model(grid, lengths=lengths, padding_side=side) for grid, side in ((tokens, "right"), (left, "left"))
    )
    for name in ("exit_masks", "confidences"):
        for a, b in zip(getattr(padded, name), getattr(right, name), strict=True):
            torch.testing.assert_close(a[1, 4:], b[1, :6])
            torch.testing.assert_close(a[0], b[0])
    torch.testing.assert_close(padded.decay_scalars[1, 4:], right.decay_scalars[1, :6])

    def edges(output, first: int) -> set[tuple[int, int]]:
        """Those of row 1 among its six tokens, counted from the first."""
        pairs = (output.graph_edges[0] - 10 - first).T.tolist()
        return {(a, b) for a, b in pairs if 0 <= b <= a < 6}

    assert edges(padded, 4) == edges(right, 0)
    assert len(edges(right, 0)) > 6


def test_reprs_are_short_and_count_parameters():
    model = build()
    output = model(draw_tokens(2, 9))
    assert repr(output) == "TMTOutput(logits (2, 9, 61), depth (2, 9))"
    count = f"{model.param_count():,} parameters"
    assert count in repr(model)
    assert repr(model.config).endswith(count)


@torch.no_grad()
def test_at_a_threshold_of_zero_every_token_leaves_at_once():
    output = build(exit_threshold=0.0)(draw_tokens(2, 9))
    assert output.layer_tokens == [18, 0, 0, 18]


@torch.no_grad()
def test_diagnostics_change_nothing():
    model, tokens = build(), draw_tokens(2, 20)
    assert torch.equal(model(tokens).logits, model(tokens, return_diagnostics=False).logits)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_outside_the_vocabulary_are_refused(name: str):
    model = build(name)
    with pytest.raises(ValueError, match=f"token id {VOCAB} is outside the vocabulary of {VOCAB}"):
        model(torch.tensor([[1, VOCAB, 2]]))
    with pytest.raises(ValueError, match="token id -1 "):
        model(torch.tensor([[1, -1, 2]]))


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_sequence_beyond_the_limit_is_refused(name: str):
    model = build(name, max_seq_len=20)
    with pytest.raises(ValueError, match="sequence of 21 tokens exceeds max_seq_len=20"):
        model(draw_tokens(1, 21))
    state = model(draw_tokens(1, 20), return_state=True).state
    with pytest.raises(ValueError, match="sequence of 21 tokens exceeds max_seq_len=20"):
        model(draw_tokens(1, 1), state)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(1, 0), (0, 5)])
def test_no_tokens_are_refused(name: str, shape: tuple[int, int]):
    with pytest.raises(ValueError, match="hold no token"):
        build(name)(torch.zeros(shape, dtype=torch.long))


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_state_of_another_batch_is_refused(name: str):
    model = build(name)
    state = model(draw_tokens(2, 5), return_state=True).state
    with pytest.raises(ValueError, match="the state has 2 rows, the tokens have 3"):
        model(draw_tokens(3, 1), state)
