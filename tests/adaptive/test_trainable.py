"""Which weights learn, and that the others stay what they were."""

import numpy as np
import pytest
import torch
from tiny_passes import MODELS, make_pass, nats, random_tokens, tiny_model, weights
from torch import nn

from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.trainable import Weights, open_weights
from tmt.errors import InputError
from tmt.model.base import LanguageModel

TOKENS = random_tokens(101)


def trained(model: LanguageModel, choice: Weights, lr: float = 0.2) -> np.ndarray:
    """Losses (n, 2) of a pass in which those weights learn."""
    settings = TrainingSettings(choice, lr=lr, epochs=1, batch=1, rank=4)
    return nats(make_pass(model, TOKENS, ScoreFirstTraining(model, settings, 16)).run())


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, weight in weights(model).items() if not torch.equal(weight, before[name])}


@pytest.mark.parametrize("variant", MODELS)
def test_all_weights_learn(variant: str):
    model = tiny_model(variant)
    before = weights(model)
    trained(model, "all")
    silent = set(before) - changed(model, before)
    model.zero_grad()
    model(torch.from_numpy(TOKENS[None, :16]), targets=torch.from_numpy(TOKENS[None, 1:17])).loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}.isdisjoint(
        silent
    )


@pytest.mark.parametrize("variant", MODELS)
def test_of_controls_alone_no_matrix_and_no_embedding_changes(variant: str):
    model = tiny_model(variant)
    before = weights(model)
    losses = trained(model, "controls", lr=1.0)
    learnt = changed(model, before)
    assert learnt
    for name in learnt:
        assert before[name].dim() != 2 or min(before[name].shape) < 16 or ".kernel." in name
    assert not {"embedding.weight", "head.weight"} & learnt
    assert np.abs(losses[:, 0] - nats(make_pass(tiny_model(variant), TOKENS).run())[:, 0]).max() > 1e-3


@pytest.mark.parametrize("variant", MODELS)
def test_low_rank_updates_start_at_nothing_and_learn_alone(variant: str):
    model, plain = tiny_model(variant), tiny_model(variant)
    originals = {id(p): (name, p.detach().clone()) for name, p in model.named_parameters()}
    losses, frozen = trained(model, "lora")[:, 0], nats(make_pass(plain, TOKENS).run())[:, 0]
    assert np.array_equal(losses[:32], frozen[:32])
    assert np.abs(losses - frozen)[32:].max() > 1e-3
    added = [(name, p) for name, p in model.named_parameters() if id(p) not in originals]
    assert added
    assert all(min(p.shape) == 4 and p.any() for _, p in added)
    kept = [p for p in model.parameters() if id(p) in originals]
    assert len(kept) == len(originals)
    assert all(torch.equal(p, originals[id(p)][1]) for p in kept)


def test_an_updated_matrix_is_what_it_was_and_the_product():
    model = tiny_model("transformer")
    linear = next(m for m in model.get_submodule("blocks").modules() if isinstance(m, nn.Linear))
    before = linear.weight.detach().clone()
    a, b = open_weights(model, "lora", 4)[:2]
    assert a.shape == (4, before.shape[1])
    assert b.shape == (before.shape[0], 4)
    assert torch.equal(linear.weight, before)
    nn.init.normal_(b)
    torch.testing.assert_close(linear.weight, before + b @ a)


@pytest.mark.parametrize("choice", ["all", "controls", "lora"])
def test_only_the_chosen_weights_get_gradients(choice: Weights):
    model = tiny_model("golf")
    chosen = open_weights(model, choice, 4)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in chosen}
    assert len({id(p) for p in chosen}) == len(chosen)


def test_the_same_low_rank_updates_are_drawn_every_time():
    some, others = (open_weights(tiny_model(), "lora", 4) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="unknown weights 'contrls'; did you mean controls"):
        open_weights(tiny_model(), "contrls", 8)


def test_a_rank_above_every_matrix_is_refused():
    with pytest.raises(InputError, match="rank"):
        open_weights(tiny_model(), "lora", 64)
