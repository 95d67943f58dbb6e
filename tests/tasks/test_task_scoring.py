"""Scores: whole answers, loads, positions."""

import pytest
import torch
from oracles import seeded

from tiny_models import tiny
from tmt.model.base import IGNORE
from tmt.tasks import Prediction
from tmt.tasks.copy import VariableCopy
from tmt.tasks.mqar import MQAR
from tmt.tasks.scoring import evaluate, model_predictor
from tmt.tasks.text_retrieval import TextRetrieval


def test_one_wrong_letter_makes_a_value_wrong():
    task = TextRetrieval(lines=4, queries=2)

    def predict(tokens: torch.Tensor, targets: torch.Tensor) -> Prediction:
        right = task.solution(tokens, targets)
        ids = right.ids.clone()
        first = (targets != IGNORE).long().argmax(1)
        ids[torch.arange(len(ids)), first + 1] = 0  # the middle letter of the first value
        return Prediction(ids, right.nats)

    result = evaluate(task, predict, seeded(), 50)
    assert result.accuracy == result.score == 0.5
    assert sum(cell.answers for cell in result.by_load.values()) == 100


def test_loads_and_positions_are_kept_apart():
    task = VariableCopy(symbols=8, shortest=2, longest=3)

    def predict(tokens: torch.Tensor, targets: torch.Tensor) -> Prediction:
        right = task.solution(tokens, targets)
        short = tokens[:, 2:3] == 8
        return Prediction(torch.where(short, right.ids, 0), torch.where(targets == IGNORE, 0, short.float()))

    result = evaluate(task, predict, seeded(), 200)
    assert set(result.by_load) == {"2", "3"}
    assert result.by_load["2"].accuracy == result.by_load["2"].nats == 1.0
    assert result.by_load["3"].accuracy < 0.3
    assert result.by_load["3"].nats == 0.0
    assert set(result.by_position) == {"2-2", "3-3", "4-4", "5-5"}
    assert result.by_position["2-2"].accuracy == 1.0
    weighted = sum(cell.accuracy * cell.answers for cell in result.by_position.values())
    assert weighted / sum(cell.answers for cell in result.by_position.values()) == pytest.approx(
        result.accuracy
    )


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_a_model_predicts_what_it_scores(variant: str):
    task = MQAR(n_keys=6, n_values=5, pairs=2, length=12)
    model = tiny(variant, vocab_size=task.vocab_size)
    batch = task.draw(seeded(), 9)
    prediction = model_predictor(model)(batch.tokens, batch.targets)
    with torch.no_grad():
        torch.testing.assert_close(prediction.nats, model(batch.tokens, targets=batch.targets).nll)
        assert torch.equal(prediction.ids, model(batch.tokens).logits.argmax(2))
