"""Tap-In: the published weights, exact mixing, a gate, and weights learnt from what was scored."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from walking import VOCAB, log_probs, random_stream, walk

from tmt.adaptive.matching import Matches, make_matcher
from tmt.adaptive.part import Block, Chunk
from tmt.adaptive.tap_in import TapIn, TapInSettings
from tmt.errors import InputError
from tmt.training.distributed import Ranks

RANKS = Ranks(torch.device("cpu"))


class Told:
    """A matcher that says what it is told to."""

    def __init__(self, hint: list[int], length: int = 1, votes: int = 1, cross: bool = False):
        n = len(hint)
        numbers = np.full(n, length, np.int32), np.full(n, votes, np.int32), np.full(n, cross)
        self._matches = Matches(np.array(hint), *numbers)

    def advance(self, ids: np.ndarray) -> Matches:
        return self._matches


def tap_in(mode: str = "exact", vocab_size: int = VOCAB, **settings: Any) -> TapIn:
    matcher = make_matcher(mode, vocab_size=vocab_size, document_start=0, window=32, stride=8)
    return TapIn(TapInSettings(**settings), matcher)


def block(count: int) -> Block:
    return Block(0, np.zeros(count, np.int64), torch.zeros(count, 1), slice(0, count))


def blend(rows: Tensor, matcher: Told, **settings: Any) -> Tensor:
    return TapIn(TapInSettings(**settings), matcher).blend(block(len(rows)), rows)


@pytest.mark.parametrize(
    ("length", "votes", "within", "cross"),
    [
        (1, 1, 0.020, 0.060),
        (1, 5, 0.026, 0.079),
        (3, 1, 0.026, 0.078),
        (10, 2, 0.054, 0.161),
        (100, 1, 0.317, 0.500),
    ],
)
def test_weights_are_the_published_ones(length: int, votes: int, within: float, cross: float):
    weight = TapInSettings().weight(
        torch.tensor([length] * 2), torch.tensor([votes] * 2), torch.tensor([False, True])
    )
    assert weight.tolist() == pytest.approx([within, cross], abs=0.0005)


@pytest.mark.parametrize(("length", "votes", "cross"), [(1, 1, False), (2, 3, True), (90, 9, True)])
def test_a_hint_takes_its_weight_from_every_token(length: int, votes: int, cross: bool):
    rows = (3 * torch.randn(5, 11)).log_softmax(1)
    given, hint = rows.clone(), [4, -1, 0, -1, 10]
    mixed = blend(rows, Told(hint, length, votes, cross))
    w = (0.06 if cross else 0.02) * (1 + 0.15 * (length - 1)) * (1 + 0.2 * math.log(votes))
    w = min(0.5, w)
    wanted = rows.double().exp()
    for row in (0, 2, 4):
        wanted[row] *= 1 - w
        wanted[row, hint[row]] += w
    assert torch.allclose(mixed.double().exp(), wanted, rtol=1e-5)
    assert mixed.logsumexp(1).abs().max() < 1e-6
    assert torch.equal(mixed[[1, 3]], rows[[1, 3]])
    assert torch.equal(rows, given)


@pytest.mark.parametrize(("top_k", "fires"), [(1, 1), (2, 3), (3, 3), (4, 4), (9, 4)])
def test_only_hints_among_the_likeliest_count_and_equal_ones_together(top_k: int, fires: int):
    row = torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    rows = row.repeat(4, 1)
    mixed = blend(rows, Told([0, 1, 2, 3]), top_k=top_k)
    changed = (mixed != rows).any(1)
    assert changed.sum() == fires
    assert changed[:fires].all()


@pytest.mark.parametrize("zero", [["within"], ["cross"], ["within", "cross"]])
def test_weight_zero_changes_nothing(zero: list[str]):
    rows = torch.randn(3, 7).log_softmax(1)
    for cross in (False, True):
        mixed = blend(rows, Told([1, 2, 3], 8, 3, cross), **dict.fromkeys(zero, 0.0))
        assert torch.equal(mixed, rows) == (("cross" if cross else "within") in zero)


def test_a_repeated_phrase_hints_at_what_followed_even_to_a_uniform_model():
    z, a, b, c, d = 9, 3, 5, 7, 8
    ids = np.array([z, a, b, c, d, d, a, b])
    uniform = torch.full((8, 10), -math.log(10))
    piece = Block(0, ids, torch.zeros(8, 1), slice(0, 8))
    mixed = tap_in(vocab_size=10, top_k=10).blend(piece, uniform)
    weight = 0.02 * 1.15
    assert mixed[7].argmax() == c
    assert float(mixed[7, c].exp()) == pytest.approx((1 - weight) / 10 + weight)
    assert torch.equal(mixed[:5], uniform[:5])


@pytest.mark.parametrize("weights", ["fixed", "learned"])
@pytest.mark.parametrize("mode", ["exact", "document"])
@pytest.mark.parametrize("g", [62, 63, 64, 100, 140])
def test_rows_depend_on_nothing_after_them(weights: str, mode: str, g: int):
    ids = random_stream(200)
    other = np.concatenate([ids[: g + 1], np.random.default_rng(1).integers(0, VOCAB, 199 - g)])
    one, two = (walk([tap_in(mode, weights=weights)], x, block=16, chunk=64) for x in (ids, other))
    assert torch.equal(one[: g + 1], two[: g + 1])
    assert not torch.equal(one[g + 1 :], two[g + 1 :])
    assert not torch.equal(one[: g + 1], log_probs(ids)[: g + 1]), "nothing fired"
    assert one.logsumexp(1).abs().max() < 2e-6


def test_targets_change_rows_from_the_next_chunk_on():
    ids = random_stream(300)
    true, false = (
        walk([tap_in(weights="learned")], ids, block=10, chunk=150, heard=heard)
        for heard in (lambda targets: targets, np.zeros_like)
    )
    assert torch.equal(true[:150], false[:150])
    assert not torch.equal(true[150:], false[150:])


@pytest.mark.parametrize("weights", ["fixed", "learned"])
@pytest.mark.parametrize("block", [7, 64])
def test_two_ranks_and_other_blocks_give_the_same(weights: str, block: int):
    ids = random_stream(400)
    one, *two = (tap_in(weights=weights) for _ in range(3))
    wanted = walk([one], ids, block=32, chunk=64)
    found = walk(two, ids, block=block, chunk=64)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert two[0].figures() == two[1].figures()
    assert two[0].figures()["fires"] == one.figures()["fires"]
    assert two[0].figures()["gain_nats"] == pytest.approx(one.figures()["gain_nats"])


@pytest.mark.parametrize("weights", ["fixed", "learned"])
def test_a_resumed_walk_is_the_uninterrupted_one(weights: str):
    ids = random_stream(300)
    whole, start, rest = (tap_in(weights=weights) for _ in range(3))
    wanted = walk([whole], ids, block=16, chunk=64)
    walk([start], ids[:129], block=16, chunk=64)
    rest.restore(start.state())
    for low, high in ((0, 100), (100, 128)):
        rest.reread(ids[low:high])
    assert torch.equal(walk([rest], ids, block=16, chunk=64, first=128), wanted[128:])
    assert rest.figures() == whole.figures()


def test_learnt_weights_start_near_the_formula_and_find_what_hints_are_worth():
    ids, rows = np.zeros(400, np.int64), torch.randn(400, 9).log_softmax(1)
    piece = Block(0, ids, torch.zeros(400, 1), slice(0, 400))
    for share in (0.0, 0.9):
        part = TapIn(TapInSettings(weights="learned"), Told([3] * 400, 4, 2, True))
        before = part.blend(piece, rows)
        fixed = blend(rows, Told([3] * 400, 4, 2, True))
        assert torch.allclose(before, fixed, atol=0.03)
        part.book(piece, torch.where(torch.rand(400) < share, 3, 5))
        part.learn(Chunk(0, ids, 0.0, False), RANKS)
        after = part.blend(piece, rows)
        if share:
            assert (after[:, 3] > fixed[:, 3]).all()
        else:
            assert (after[:, 3] < fixed[:, 3]).all()


def test_figures_count_every_fire_by_its_match():
    ids = random_stream(300)
    part, plain = tap_in("document"), log_probs(ids)
    mixed = walk([part], ids, block=50, chunk=100)
    matcher = make_matcher("document", vocab_size=VOCAB, document_start=0, window=32, stride=8)
    matches = matcher.advance(ids[:-1])
    wanted: dict[tuple, list] = {}
    for i in np.flatnonzero(matches.hint >= 0):
        length = next(
            name
            for name, low in (("17+", 17), ("9-16", 9), ("6-8", 6), ("4-5", 4), ("3", 3), ("2", 2), ("1", 1))
            if matches.length[i] >= low
        )
        votes = next(
            name for name, low in (("5+", 5), ("3-4", 3), ("2", 2), ("1", 1)) if matches.votes[i] >= low
        )
        sums = wanted.setdefault((bool(matches.cross[i]), length, votes), [0, 0, 0.0, 0.0])
        hint, target = int(matches.hint[i]), int(ids[i + 1])
        for column, value in enumerate(
            (1, hint == target, float(plain[i, hint].exp()), float(mixed[i, target] - plain[i, target]))
        ):
            sums[column] += value
    figures = part.figures()
    assert {(m["cross"], m["length"], m["votes"]) for m in figures["matches"]} == set(wanted)
    for match in figures["matches"]:
        fires, hits, p_hint, nats = wanted[match["cross"], match["length"], match["votes"]]
        assert match["fires"] == fires
        assert match["hit_rate"] == pytest.approx(hits / fires)
        assert match["p_hint"] == pytest.approx(p_hint / fires)
        assert match["gain_nats"] == pytest.approx(nats, abs=1e-4)
    assert figures["fires"] == sum(fires for fires, *_ in wanted.values())
    assert figures["gain_nats"] == pytest.approx(sum(nats for *_, nats in wanted.values()), abs=1e-4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("min_match", 0), ("min_match", 101), ("top_k", 0), ("cap", 0.95), ("within", -0.1), ("cross", 1.0)],
)
def test_bad_settings_are_refused(field: str, value: float):
    with pytest.raises(InputError, match=f"{field}="):
        TapInSettings(**{field: value})


def test_weights_to_learn_from_must_not_be_zero():
    with pytest.raises(InputError, match=r"cross=0\.0 must be above 0 where weights are learned"):
        TapInSettings(cross=0.0, weights="learned")
