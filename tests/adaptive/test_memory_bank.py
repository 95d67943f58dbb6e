"""The bank of a TMT follows the stream, window by window, after each chunk."""

import numpy as np
import pytest
import torch
from tiny_passes import make_pass, nats, random_tokens, tiny_model, weights
from torch import Tensor

from tmt.adaptive.memory_bank import MemoryBank
from tmt.errors import InputError
from tmt.model.model import TMTModel

TOKENS = random_tokens(101)


def tmt(**overrides: object) -> TMTModel:
    model = tiny_model("plain", memory_momentum=0.5, **overrides)
    assert isinstance(model, TMTModel)
    return model


def bank(model: TMTModel) -> tuple[Tensor, Tensor]:
    assert model.memory is not None
    return model.memory.count.clone(), model.memory.total.clone()


@torch.no_grad()
def streamed(windows: Tensor) -> tuple[Tensor, Tensor]:
    """The bank of a session that reads each of the windows (n, T) afresh but for the bank."""
    model = tmt(stream_memory=True)
    assert model.memory is not None
    for window in windows:
        state = model(window[None], return_state=True).state
        model.memory.count.copy_(state[1][0])
        model.memory.total.copy_(state[2][0])
    return bank(model)


@pytest.mark.parametrize("model", [tiny_model("transformer"), tiny_model("plain", memory_anchors=0)])
def test_a_model_without_anchors_is_refused(model: torch.nn.Module):
    with pytest.raises(InputError, match="memory_anchors above 0"):
        MemoryBank(model, 16)


def test_the_first_chunk_is_the_plain_score_and_the_next_ones_are_not():
    model = tmt()
    losses = nats(make_pass(model, TOKENS, MemoryBank(model, 16)).run())
    plain = nats(make_pass(tmt(), TOKENS).run())
    assert np.array_equal(losses[:, 0], losses[:, 1])
    assert np.array_equal(losses[:32, :1], plain[:32])
    for start in (32, 64):
        assert np.abs(losses[:, :1] - plain)[start : start + 32].max() > 1e-3


@torch.no_grad()
def test_a_chunk_of_one_window_is_a_step_of_a_streamed_session():
    model = tmt()
    start = bank(model)
    next(make_pass(model, TOKENS, MemoryBank(model, 16), chunk=16).run())
    expected = streamed(torch.from_numpy(TOKENS[:16]).view(-1, 16))
    for actual, wanted, before in zip(bank(model), expected, start, strict=True):
        torch.testing.assert_close(actual, wanted)
        assert (actual - before).abs().max() > 0.01


@torch.no_grad()
def test_a_chunk_counts_as_one_step():
    model = tmt()
    assert model.memory is not None
    use = model.memory_use(torch.from_numpy(TOKENS[:48]).view(3, 16))
    expected = model.memory.blend(*bank(model), *use)
    next(make_pass(model, TOKENS, MemoryBank(model, 16), chunk=48).run())
    for actual, wanted in zip(bank(model), expected, strict=True):
        torch.testing.assert_close(actual, wanted)


@torch.no_grad()
def test_what_a_window_is_used_for_blends_as_in_a_streamed_session():
    model, window = tmt(), torch.from_numpy(TOKENS[None, :16])
    assert model.memory is not None
    before = bank(model)
    blended = model.memory.blend(*before, *model.memory_use(window))
    for actual, wanted in zip(blended, streamed(window), strict=True):
        torch.testing.assert_close(actual, wanted)
    assert all(torch.equal(a, b) for a, b in zip(before, bank(model), strict=True))


def test_nothing_but_the_bank_changes():
    model = tmt()
    before, start = weights(model), bank(model)
    part = MemoryBank(model, 16)
    nats(make_pass(model, TOKENS, part).run())
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())
    assert not any(torch.equal(a, b) for a, b in zip(start, bank(model), strict=True))
    assert all(p.grad is None for p in model.parameters())
    assert 1 < part.figures()["anchors_in_use"] <= 3
    assert 1 < part.figures()["anchor_rank"] <= 3


def test_the_last_chunk_is_left_alone():
    model = tmt()
    banks = [bank(model) for _ in make_pass(model, TOKENS, MemoryBank(model, 16)).run()]
    assert len(banks) == 4
    assert torch.equal(banks[3][1], banks[2][1])
    assert not torch.equal(banks[2][1], banks[1][1])


@pytest.mark.parametrize("known", [32, 64])
def test_later_tokens_change_no_earlier_loss_through_the_bank(known: int):
    other = np.concatenate([TOKENS[: known + 1], random_tokens(100 - known, seed=1)])
    losses = []
    for tokens in (TOKENS, other):
        model = tmt()
        losses.append(nats(make_pass(model, tokens, MemoryBank(model, 16)).run())[:, 0])
    assert np.array_equal(losses[0][:known], losses[1][:known])
    assert np.abs(losses[0] - losses[1])[known:].max() > 0.1
