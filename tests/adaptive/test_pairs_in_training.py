"""An embedding of pairs that a pass learns: what it may know, and that the scores hear it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_passes import MODELS, make_pass, nats, random_tokens, tiny_model
from torch import Tensor, nn

from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.scoring import AdaptivePass
from tmt.layers.pair_embedding import PairEmbedding
from tmt.model.base import LanguageModel

ROWS = 256
TOKENS = random_tokens(101)


def learning(variant: str, rows: int = ROWS, lr: float = 0.05) -> AdaptivePass:
    model = tiny_model(variant)
    settings = TrainingSettings("controls", lr=lr, epochs=1, pair_rows=rows)
    return make_pass(model, TOKENS, ScoreFirstTraining(model, settings, 16))


def pairs(model: LanguageModel) -> PairEmbedding:
    assert model.pairs is not None
    return model.pairs


@pytest.mark.parametrize("variant", MODELS)
def test_the_first_chunk_is_the_same_with_and_without(variant: str):
    some, others = (nats(learning(variant, rows).run()) for rows in (ROWS, 0))
    assert np.array_equal(some[:32], others[:32])
    assert np.abs(some - others)[32:64].max() > 1e-3


def test_pairs_learn_ten_times_as_fast_as_the_weights(monkeypatch: pytest.MonkeyPatch):
    rates, step = [], torch.optim.SGD.step

    def watched(optimizer: torch.optim.SGD, *arguments) -> None:
        rates.append([group["lr"] for group in optimizer.param_groups])
        step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    nats(learning("transformer", lr=0.03).run())
    assert rates[0] == pytest.approx([0.03, 0.3])
    assert all(pair == pytest.approx(10 * weight) for weight, pair in rates)


@pytest.mark.parametrize("variant", MODELS)
def test_later_chunks_hear_the_table(variant: str):
    heard, unheard = learning(variant), learning(variant)
    first, *later = heard.run()
    run = unheard.run()
    assert np.array_equal(next(run).nats, first.nats)
    nn.init.zeros_(pairs(unheard.model).weight)
    assert np.abs(next(run).nats - later[0].nats).max() > 1e-3


def test_a_step_changes_the_rows_of_the_pairs_that_occurred_and_no_others():
    scoring = learning("golf")
    assert not pairs(scoring.model).weight.any()
    next(scoring.run())
    rows = torch.from_numpy(TOKENS[:32]).view(2, 16)
    occurred = pairs(scoring.model).keys(rows).unique()
    assert 20 < len(occurred) < 32
    learnt = pairs(scoring.model).weight.any(1).nonzero()[:, 0]
    assert torch.equal(learnt, occurred)


@torch.no_grad()
@pytest.mark.parametrize("variant", [*MODELS, "triangular", "hyena"])
def test_every_way_through_a_model_adds_the_same_rows(variant: str):
    model, tokens = tiny_model(variant), torch.from_numpy(TOKENS[:60]).view(3, 20)
    before = model(tokens).logits
    model.pairs = PairEmbedding(ROWS, 16)
    nn.init.normal_(model.pairs.weight)
    looked_up = F.embedding(tokens, model.embedding.weight) + model.pairs(tokens)
    torch.testing.assert_close(model.embed(tokens), looked_up.flatten(0, 1))
    logits = model(tokens).logits
    assert (logits - before).abs().max() > 0.1
    torch.testing.assert_close(model.predict(model.encode(tokens)), logits, rtol=0, atol=1e-5)
    nll = model(tokens[:, :-1], targets=tokens[:, 1:]).nll
    expected = F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
    torch.testing.assert_close(nll, expected, rtol=0, atol=1e-5)


def test_scoring_and_training_ask_for_the_keys_of_their_inputs_alone():
    scoring, asked = learning("transformer"), []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        asked.append((torch.is_grad_enabled(), inputs[0]))

    pairs(scoring.model).register_forward_pre_hook(note)
    next(scoring.run())
    windows = {tuple(TOKENS[start : start + 16].tolist()) for start in range(0, 32, 8)}
    rows = {tuple(TOKENS[start : start + 16].tolist()) for start in (0, 16)}
    for trains, expected in ((False, windows), (True, rows)):
        seen = {tuple(row.tolist()) for training, tokens in asked for row in tokens if training == trains}
        assert seen <= expected
        assert seen >= rows - {tuple(TOKENS[24:40].tolist())}
    assert {trains for trains, _ in asked} == {False, True}
