"""The published interface, its output shapes, and what it refuses."""

import pytest
import torch
from builders import VOCAB, build, draw_tokens

from tmt.model import ARCHITECTURES


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


def test_diagnostics_are_made_only_when_asked_for():
    model, tokens = build(), draw_tokens(2, 9)
    names = ("exit_masks", "confidences", "graph_edges", "memory_state", "decay_scalars")
    assert all(getattr(model(tokens), name) is not None for name in names)
    assert all(getattr(model(tokens, return_diagnostics=False), name) is None for name in names)
    model.train()
    assert all(getattr(model(tokens), name) is None for name in names)
    asked = model(tokens, return_diagnostics=True)
    assert all(getattr(asked, name) is not None for name in names)


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
