"""The decoding state: its form, its gradients, a memory that learns between calls (the rest: test_rules)."""

import pytest
import torch
from builders import build, draw_tokens, run_cached, switched


@pytest.mark.parametrize("name", ["transformer", "tmt", "everything"])
def test_cached_reading_is_differentiable(name: str):
    """With gradients on, the cache is not written in place."""
    model, tokens = switched(name), draw_tokens(2, 12)
    targets = draw_tokens(2, 12, seed=5)
    full = torch.nn.functional.cross_entropy(model(tokens).logits.flatten(0, 1), targets.flatten())
    pieces = torch.stack(run_cached(model, tokens, [(5, 5), (4, 4), (3, 3)]))
    cached = torch.nn.functional.cross_entropy(pieces.flatten(0, 1), targets.flatten())
    weights = [model.embedding.weight, model.blocks[0].attention_norm.weight]
    for a, b in zip(torch.autograd.grad(full, weights), torch.autograd.grad(cached, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("name", ["transformer", "everything", "stream-memory"])
def test_the_state_is_a_flat_tuple_of_tensors(name: str):
    model, tokens = switched(name), draw_tokens(3, 8)
    assert model(tokens).state is None
    state = model(tokens, lengths=torch.tensor([8, 2, 5]), return_state=True).state
    assert isinstance(state, tuple)
    assert all(isinstance(part, torch.Tensor) and len(part) == 3 for part in state)
    assert state[0].tolist() == [8, 2, 5]
    later = model(tokens[:, :2], tuple(part.clone() for part in state)).state
    assert later[0].tolist() == [10, 4, 7]
    assert len(later) == len(state)


@torch.no_grad()
@pytest.mark.parametrize("name", ["transformer", "tmt"])
def test_only_the_last_valid_logit_is_made_when_only_that_is_wanted(name: str):
    model, tokens, lengths = switched(name), draw_tokens(3, 9), torch.tensor([9, 1, 4])
    full, last = model(tokens, lengths=lengths), model(tokens, lengths=lengths, last_only=True)
    torch.testing.assert_close(last.logits[:, 0], full.logits[torch.arange(3), lengths - 1])
    assert full.flops - last.flops == 2 * (27 - 3) * model.head.weight.numel()


@torch.no_grad()
def test_streaming_scores_before_it_learns():
    """The first chunk is scored by the bank it found; only the next call reads what it left."""
    stream, frozen = build(stream_memory=True, memory_momentum=0.5), build(memory_momentum=0.5)
    frozen.load_state_dict(stream.state_dict())
    tokens = draw_tokens(2, 24)
    first, plain = (m(tokens[:, :12], return_state=True) for m in (stream, frozen))
    assert torch.equal(first.logits, plain.logits)
    second = stream(tokens[:, 12:], first.state).logits
    unchanged = frozen(tokens[:, 12:], plain.state).logits
    assert (second - unchanged).abs().max() > 1e-3
    assert torch.equal(stream.memory.total, frozen.memory.total)


@torch.no_grad()
def test_a_streamed_chunk_does_not_read_its_own_update():
    """Within each call the future may change without any effect on earlier scores."""
    model, tokens = build(stream_memory=True, memory_momentum=0.5), draw_tokens(1, 24)
    other = tokens.clone()
    other[:, 20:] = (other[:, 20:] + 3) % 61
    scores = []
    for sequence in (tokens, other):
        state = model(sequence[:, :12], return_state=True).state
        scores.append(model(sequence[:, 12:], state).logits)
    torch.testing.assert_close(scores[0][:, :8], scores[1][:, :8], rtol=0, atol=1e-10)
    assert (scores[0][:, 8:] - scores[1][:, 8:]).abs().max() > 1e-3


@torch.no_grad()
def test_streaming_rows_are_independent_and_padding_teaches_nothing():
    model, tokens = build(stream_memory=True, memory_momentum=0.5), draw_tokens(3, 24)
    plan = [(5, 9, 1), (3, 1, 6), (9, 5, 2), (1, 2, 3)]
    together = run_cached(model, tokens, plan)
    for row in range(3):
        alone = run_cached(model, tokens[row : row + 1], [(step[row],) for step in plan])
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-10)
