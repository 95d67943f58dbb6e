"""Every task: what it draws, and that its solution is right for the right reason."""

import pytest
import torch
from oracles import EVERY_TASK, NAMES, seeded

from tmt.errors import InputError
from tmt.model.base import IGNORE
from tmt.tasks import Task
from tmt.tasks.copy import Copy, SelectiveCopy, VariableCopy
from tmt.tasks.in_context import Induction, Labels
from tmt.tasks.markov import Markov
from tmt.tasks.mqar import MQAR
from tmt.tasks.scoring import evaluate
from tmt.tasks.task import counts
from tmt.tasks.text_retrieval import TextRetrieval

every_task = pytest.mark.parametrize("task", EVERY_TASK, ids=NAMES)


@every_task
def test_the_oracle_scores_one(task: Task):
    result = evaluate(task, task.solution, seeded(), 70)
    assert result.score == pytest.approx(1.0, abs=1e-6)
    if not isinstance(task, Markov):
        assert result.accuracy == 1.0


@every_task
@pytest.mark.parametrize("method", ["solve", "count"])
def test_oracles_see_the_past_alone(task: Task, method: str):
    batch = task.draw(seeded(), 20)
    oracle = getattr(task, method)
    answers = oracle(batch.tokens)
    noise = torch.randint(task.vocab_size, batch.tokens.shape, generator=seeded(1))
    for position in range(task.length):
        blinded = torch.cat([batch.tokens[:, : position + 1], noise[:, position + 1 :]], 1)
        scored = batch.targets[:, position] != IGNORE
        assert torch.equal(oracle(blinded)[scored, position], answers[scored, position])


WITHOUT_ORDER: dict[Task, float] = {
    Copy(): 0.179,
    VariableCopy(): 0.207,
    SelectiveCopy(): 0.255,
    MQAR(): 0.174,
    MQAR(pairs=4, length=16): 0.273,
    Labels(): 0.406,
    Markov(): 0.0,
    Induction(): 0.100,
    TextRetrieval(): 0.066,
}
"""What counting scores."""


@pytest.mark.parametrize("task", WITHOUT_ORDER, ids=str)
def test_the_floor_is_what_counting_scores(task: Task):
    floor = evaluate(task, task.counting, seeded(2), 1024).score
    assert floor == pytest.approx(WITHOUT_ORDER[task], abs=5e-4)


@pytest.mark.parametrize("task", [VariableCopy(), SelectiveCopy(), MQAR(), Labels(), Induction()], ids=str)
def test_no_simpler_count_scores_more(task: Task):
    batch = task.draw(seeded(), 2000)
    scored = batch.targets != IGNORE
    came = counts(batch.tokens, task.vocab_size)
    most = came.argmax(2)
    most_of_others = came.scatter(2, batch.tokens[:, :, None], 0).argmax(2)
    floor, *simpler = (
        (ids == batch.targets)[scored].double().mean()
        for ids in (task.count(batch.tokens), most, most_of_others)
    )
    assert max(simpler) <= floor + 0.01


def test_a_sequence_of_the_same_counts_has_the_same_floor():
    """A bigram's second symbol comes as often as each decoy wherever it is asked for."""
    batch = Induction().draw(seeded(), 200)
    came = counts(batch.tokens, 64)
    for row, position in (batch.targets != IGNORE).nonzero().tolist():
        wanted = came[row, position, batch.targets[row, position]]
        assert wanted == came[row, position, batch.tokens[row, position]] - 1
        assert (came[row, position] == wanted).sum() >= 1 + 7


@pytest.mark.parametrize(
    ("task", "shuffled"),
    [
        (Copy(), 32),
        (VariableCopy(shortest=9, longest=9), 9),
        (SelectiveCopy(), 80),
        (MQAR(), 40),
        (Labels(), 50),
        (Markov(), 100),
        (Induction(), 40),
    ],
    ids=str,
)
def test_counting_does_not_read_the_order(task: Task, shuffled: int):
    """Whatever order the first tokens come in, the answers after them are the same."""
    batch = task.draw(seeded(), 100)
    scored = batch.targets != IGNORE
    scored[:, :shuffled] = False
    assert scored.any()
    mixed = batch.tokens[:, torch.randperm(shuffled, generator=seeded(1))]
    other = torch.cat([mixed, batch.tokens[:, shuffled:]], 1)
    assert not torch.equal(other, batch.tokens)
    assert torch.equal(task.count(other)[scored], task.count(batch.tokens)[scored])


@every_task
def test_what_is_drawn_fits_its_description(task: Task):
    batch = task.draw(seeded(), 50)
    scored = batch.targets != IGNORE
    for grid in (batch.tokens, batch.targets, batch.group):
        assert grid.shape == (50, task.length)
        assert grid.dtype == torch.int64
    assert 0 <= batch.tokens.min() <= batch.tokens.max() < task.vocab_size
    assert 0 <= batch.targets[scored].min() <= batch.targets[scored].max() < task.vocab_size
    assert scored.sum() % task.answer_length == 0
    assert (batch.group[~scored] == 0).all()


@every_task
def test_a_seed_draws_the_same_and_another_does_not(task: Task):
    torch.manual_seed(1)
    first = task.draw(seeded(3), 40)
    torch.manual_seed(2)
    again = task.draw(seeded(3), 40)
    for name in ("tokens", "targets", "group"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    if task != Copy(symbols=1, half=1):
        assert not torch.equal(first.tokens, task.draw(seeded(4), 40).tokens)


def test_no_task_touches_the_global_generator():
    before = torch.get_rng_state()
    for task in EVERY_TASK:
        task.draw(seeded(), 4)
    assert torch.equal(torch.get_rng_state(), before)


@every_task
def test_targets_are_the_next_tokens_except_where_the_value_is_not_inserted(task: Task):
    batch = task.draw(seeded(), 30)
    following = torch.cat([batch.tokens[:, 1:], batch.targets[:, -1:]], 1)
    scored = batch.targets != IGNORE
    if not isinstance(task, MQAR):
        assert torch.equal(batch.targets[scored], following[scored])


@pytest.mark.parametrize(
    ("task", "positions"),
    [
        (Copy(half=4), range(4, 8)),
        (VariableCopy(shortest=5, longest=5), range(5, 10)),
        (SelectiveCopy(marked=3, blanks=4), range(7, 10)),
        (Labels(symbols=1, pairs=4), range(2, 8, 2)),
        (Markov(length=9), range(9)),
        (TextRetrieval(lines=2, queries=2, name_letters=1, value_letters=2), [11, 12, 16, 17]),
    ],
)
def test_only_the_promised_positions_are_scored(task: Task, positions: range):
    scored = task.draw(seeded(), 30).targets != IGNORE
    expected = torch.zeros(task.length, dtype=torch.bool)
    expected[list(positions)] = True
    assert torch.equal(scored, expected.expand_as(scored))


def test_a_text_reads_as_lines_and_queries():
    task = TextRetrieval(lines=3, queries=2, name_letters=2, value_letters=3)
    text = bytes(task.draw(seeded(), 1).tokens[0].tolist()).decode()
    lines = text.split(";")[:-1]
    pairs = dict(line.split("=") for line in lines[:3])
    assert len(pairs) == 3
    assert all(len(name) == 2 and len(value) == 3 for name, value in pairs.items())
    assert all(line in lines[:3] for line in lines[3:])
    assert lines[3] != lines[4]


def test_a_variable_copy_is_a_copy_then_padding():
    task = VariableCopy(symbols=10, shortest=2, longest=4)
    for row in task.draw(seeded(), 30).tokens.tolist():
        length = row.index(10)
        assert 2 <= length <= 4
        assert row[length + 1 : 2 * length + 1] == row[:length]
        assert set(row[2 * length + 1 :]) <= {11}


def test_the_bigram_is_the_only_place_of_its_first_symbol():
    batch = Induction(symbols=6, length=20, repeats=4, decoys=2).draw(seeded(), 50)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        scored = [i for i, target in enumerate(targets) if target != IGNORE]
        first, second = tokens[scored[0]], targets[scored[0]]
        places = [i for i, token in enumerate(tokens) if token == first]
        assert places[1:] == scored
        assert len(places) == 4
        assert {tokens[i + 1] for i in places} == {second}


@pytest.mark.parametrize(
    "task",
    [Copy(), VariableCopy(), SelectiveCopy(), MQAR(), Labels(), Induction()],
    ids=lambda task: str(task),
)
def test_a_constant_answer_is_right_as_often_as_chance_says(task: Task):
    batch = task.draw(seeded(), 20_000)
    targets = batch.targets[batch.targets != IGNORE]
    counts = targets.bincount()
    counts = counts[counts > 0]
    assert len(counts) == round(1 / task.chance) + isinstance(task, Induction)
    assert counts.double().div(len(targets)).sub(task.chance).abs().max() < 0.25 * task.chance


def test_chance_of_a_whole_value():
    assert TextRetrieval(value_letters=2).chance == pytest.approx(1 / 676)


def test_loads_count_what_they_say():
    task = Labels(symbols=3, labels=2, pairs=6)
    batch = task.draw(seeded(), 20)
    for tokens, group in zip(batch.tokens.tolist(), batch.group.tolist(), strict=True):
        for position in range(0, 12, 2):
            assert group[position] == tokens[:position:2].count(tokens[position])
    task = TextRetrieval(lines=5, queries=1, name_letters=1, value_letters=1)
    batch = task.draw(seeded(), 20)
    for tokens, group in zip(batch.tokens.tolist(), batch.group.tolist(), strict=True):
        distance = 20 - 4 * tokens[:20:4].index(tokens[20])
        assert max(group) <= distance < 2 * max(group)


@pytest.mark.parametrize(
    ("kind", "sizes", "named"),
    [
        (Copy, dict(half=0), "half=0"),
        (VariableCopy, dict(shortest=9, longest=8), "longest=8"),
        (SelectiveCopy, dict(blanks=-1), "blanks=-1"),
        (MQAR, dict(pairs=65), "pairs=65"),
        (MQAR, dict(pairs=22), "length=64"),
        (Labels, dict(pairs=1), "pairs=1"),
        (Markov, dict(states=1), "states=1"),
        (Induction, dict(repeats=40), "length=64"),
        (Induction, dict(decoys=-1), "decoys=-1"),
        (Induction, dict(decoys=15), "decoys=15"),
        (Induction, dict(symbols=9), "symbols=9"),
        (TextRetrieval, dict(queries=17), "queries=17"),
        (TextRetrieval, dict(lines=27, name_letters=1), "lines=27"),
    ],
)
def test_sizes_that_cannot_be_are_named(kind: type[Task], sizes: dict[str, int], named: str):
    with pytest.raises(InputError, match=named):
        kind(**sizes)
