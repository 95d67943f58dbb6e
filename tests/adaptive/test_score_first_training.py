"""Training on what was scored: when, on what and how fast, and what it may not reach."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_passes import CUT, MODELS, Spy, make_pass, nats, random_tokens, tiny_model, weights
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tmt.adaptive.score_first_training import PAIR_RATE, ScoreFirstTraining, TrainingSettings
from tmt.adaptive.trainable import Weights
from tmt.errors import InputError
from tmt.model.base import LanguageModel

FAST = dict(lr=0.1, epochs=2, batch=1)


def training(model: LanguageModel, window: int = CUT["window"], **settings: Any) -> ScoreFirstTraining:
    return ScoreFirstTraining(model, TrainingSettings(**{**FAST, **settings}), window)


@dataclass
class Log:
    """What optimisers and a model were given."""

    rates: list[list[float]] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)


@contextmanager
def watched(model: LanguageModel) -> Iterator[Log]:
    """Note the rates and gradient norms of every optimiser's step, and every call of the model's forward."""
    log = Log()

    def step(optimizer: Optimizer, *_: Any) -> None:
        log.rates.append([group["lr"] for group in optimizer.param_groups])
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        log.norms.append(float(torch.cat([g.flatten() for g in gradients if g is not None]).norm()))

    def call(_: torch.nn.Module, inputs: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        log.inputs.append(inputs[0])
        log.targets.append(options["targets"])

    hooks = [register_optimizer_step_pre_hook(step), model.register_forward_pre_hook(call, with_kwargs=True)]
    try:
        yield log
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("chunks", [2, 5])
def test_rates_fall_with_a_cosine_and_the_last_chunk_is_left_alone(chunks: int):
    model = tiny_model()
    part = training(model, lr=0.02, epochs=3, batch=2, pair_rows=64)
    scoring = make_pass(model, random_tokens(32 * chunks - 5), part)
    steps = []
    with watched(model) as log:
        for _ in scoring.run():
            steps.append(list(log.rates))
            log.rates.clear()
    for chunk, rates in enumerate(steps[:-1]):
        rate = 0.02 * (1 + math.cos(math.pi * chunk / (chunks - 1))) / 2
        assert rates == [pytest.approx([rate, PAIR_RATE * rate])] * 3
    assert steps[-1] == []
    assert part.figures()["steps"] == 3 * (chunks - 1)


@pytest.mark.parametrize(("epochs", "batch", "expected"), [(1, 5, 1), (2, 2, 6), (3, 1, 15), (3, 32, 3)])
def test_steps_of_a_chunk(epochs: int, batch: int, expected: int):
    model = tiny_model("toeplitz")
    part = training(model, 8, epochs=epochs, batch=batch)
    next(make_pass(model, random_tokens(81), part, window=8, chunk=40).run())
    assert part.figures() == {"steps": expected, "parameters": model.param_count()}


@pytest.mark.parametrize("batch", [1, 3])
def test_exactly_the_booked_targets_are_learnt(batch: int):
    model, tokens, spy = tiny_model("toeplitz"), random_tokens(160), Spy()
    scoring = make_pass(model, tokens, training(model, batch=batch), spy, chunk=48)
    with watched(model) as log:
        for chunk in scoring.run():
            if chunk.index == scoring.chunks - 1:
                assert not log.targets
                break
            inputs, targets = (torch.cat(seen).view(2, 48) for seen in (log.inputs, log.targets))
            start = chunk.start
            for epoch in range(2):
                assert inputs[epoch].tolist() == tokens[start : start + 48].tolist()
                assert (
                    targets[epoch].tolist() == tokens[start + 1 : start + 49].tolist() == spy.targets[start:]
                )
            log.inputs.clear()
            log.targets.clear()


@pytest.mark.parametrize(("clip", "batch", "momentum"), [(0.05, 1, 0.9), (100.0, 1, 0.5), (1.0, 2, 0.0)])
def test_the_weights_are_those_of_clipped_sgd_with_one_momentum(clip: float, batch: int, momentum: float):
    model, by_hand, tokens = tiny_model().double(), tiny_model().double(), random_tokens(140)
    part = training(model, lr=0.05, clip=clip, batch=batch, momentum=momentum)
    with watched(model) as log:
        nats(make_pass(model, tokens, part).run())
    assert max(log.norms) <= clip * (1 + 1e-5)
    velocity = [torch.zeros_like(p) for p in by_hand.parameters()]
    for chunk in range(4):
        rate = 0.05 * (1 + math.cos(math.pi * chunk / 4)) / 2
        ids = torch.from_numpy(tokens[32 * chunk : 32 * chunk + 33])
        rows = torch.stack([ids[:17], ids[16:]])
        for some in [*rows.split(batch)] * 2:
            logits = by_hand(some[:, :-1]).logits
            F.cross_entropy(logits.flatten(0, 1), some[:, 1:].flatten()).backward()
            clip_grad_norm_(by_hand.parameters(), clip)
            for parameter, v in zip(by_hand.parameters(), velocity, strict=True):
                v.mul_(momentum).add_(parameter.grad)
                parameter.data.sub_(rate * v)
            by_hand.zero_grad()
    for name, weight in weights(by_hand).items():
        torch.testing.assert_close(weights(model)[name], weight, rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", MODELS)
def test_a_rate_of_zero_is_no_training(variant: str):
    tokens = random_tokens(140)
    model = tiny_model(variant)
    before = weights(model)
    trained = nats(make_pass(model, tokens, training(model, lr=0.0, pair_rows=64)).run())
    assert np.array_equal(trained[:, 0], nats(make_pass(tiny_model(variant), tokens).run())[:, 0])
    assert all(torch.equal(weights(model)[name], weight) for name, weight in before.items())


@pytest.mark.parametrize("variant", MODELS)
def test_the_first_chunk_knows_nothing_and_the_next_ones_do(variant: str):
    model, tokens = tiny_model(variant), random_tokens(101)
    trained = nats(make_pass(model, tokens, training(model, pair_rows=64)).run())
    frozen = nats(make_pass(tiny_model(variant), tokens).run())
    assert np.array_equal(trained[:, 0], trained[:, 1])
    assert np.array_equal(trained[:32, 0], frozen[:32, 0])
    for start in (32, 64):
        assert np.abs(trained - frozen)[start : start + 32].max() > 0.01


@pytest.mark.parametrize(("variant", "known"), [("transformer", 64), ("plain", 32), ("plain", 48)])
def test_later_tokens_change_no_earlier_loss_through_training(variant: str, known: int):
    tokens = random_tokens(110)
    other = np.concatenate([tokens[: known + 1], np.random.default_rng(1).permutation(tokens[known + 1 :])])
    losses = []
    for ids in (tokens, other):
        model = tiny_model(variant)
        losses.append(nats(make_pass(model, ids, training(model, pair_rows=64)).run())[:, 0])
    whole = known // 32 * 32
    assert np.array_equal(losses[0][:whole], losses[1][:whole])
    np.testing.assert_allclose(losses[0][:known], losses[1][:known], rtol=0, atol=1e-6)
    assert np.abs(losses[0] - losses[1])[known:].max() > 0.1


@pytest.mark.parametrize(("choice", "lr"), [("all", 0.3), ("lora", 0.3), ("controls", 1.0)])
def test_what_repeats_is_learnt(choice: Weights, lr: float):
    tokens = np.tile(random_tokens(16), 20)
    model = tiny_model()
    trained = nats(make_pass(model, tokens, training(model, weights=choice, lr=lr)).run())
    frozen = nats(make_pass(tiny_model(), tokens).run())
    gain = (frozen[:, 0] - trained[:, 0])[:288].reshape(9, 32).mean(1)
    assert gain[0] == 0
    assert gain[1:].min() > 0.5
    assert gain[5:].mean() > gain[1] + 0.3


@pytest.mark.parametrize("variant", MODELS)
def test_divergence_is_an_error_that_names_the_rate(variant: str):
    model = tiny_model(variant)
    with pytest.raises(InputError, match=r"diverged .* rate"):
        nats(make_pass(model, random_tokens(140), training(model, lr=1e30)).run())


def test_divergence_after_the_last_step_is_an_error_too():
    model = tiny_model("toeplitz")
    with pytest.raises(InputError, match="rate"):
        nats(make_pass(model, random_tokens(60), training(model, lr=1e38, epochs=1, batch=32)).run())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", 0), ("batch", 0), ("rank", 0), ("lr", -0.1), ("momentum", -1.0), ("pair_rows", -1)],
)
def test_bad_settings_are_named(setting: str, value: float):
    with pytest.raises(InputError, match=f"{setting}={value}"):
        TrainingSettings(**{setting: value})
