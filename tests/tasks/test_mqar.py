"""Multi-query associative recall follows its protocol."""

import torch
from oracles import seeded

from tmt.model.base import IGNORE
from tmt.tasks.mqar import MQAR


def test_every_answer_stands_once_before_its_query():
    task = MQAR(n_keys=20, n_values=10, pairs=6, length=40)
    batch = task.draw(seeded(), 200)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        keys, values = tokens[:12:2], tokens[1:12:2]
        assert len(set(keys)) == 6
        assert set(keys) <= set(range(20))
        assert set(values) <= set(range(20, 30))
        queries = [i for i in range(12, 40) if tokens[i] != 30]
        assert sorted(tokens[i] for i in queries) == sorted(keys)
        assert queries == [i for i, target in enumerate(targets) if target != IGNORE]
        for i in queries:
            earlier = [j for j in range(i) if tokens[j] == tokens[i]]
            assert len(earlier) == 1
            assert tokens[earlier[0] + 1] == targets[i]


def test_queries_come_early_by_a_power_law():
    task = MQAR(pairs=1, length=12)
    batch = task.draw(seeded(), 40_000)
    places = (batch.targets != IGNORE).double().mean(0)
    expected = torch.arange(1, 11).double() ** (task.power - 1)
    torch.testing.assert_close(places[2:], expected / expected.sum(), atol=0.01, rtol=0)


def test_the_order_of_the_queries_does_not_follow_the_order_of_the_pairs():
    batch = MQAR(pairs=2, length=30).draw(seeded(), 20_000)
    first_asked = batch.tokens[:, 4:].masked_fill(batch.targets[:, 4:] == IGNORE, -1)
    place = (first_asked >= 0).long().argmax(1, keepdim=True)
    same = first_asked.gather(1, place)[:, 0] == batch.tokens[:, 0]
    assert abs(float(same.double().mean()) - 0.5) < 0.02
