"""The continuous cache: what its formula says, however the stream is cut, from the past alone."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from walking import VOCAB, log_probs, random_stream, states, walk

from tmt.adaptive import neural_cache
from tmt.adaptive.neural_cache import NeuralCache, NeuralCacheSettings
from tmt.errors import InputError


def cache(entries: int = 30, **settings: Any) -> NeuralCache:
    return NeuralCache(NeuralCacheSettings(entries=entries, sharpness=6.0, **settings))


def expected(ids: np.ndarray, entries: int) -> list[list[float]]:
    """The cache's distribution at every position, by the formula."""
    seen, found = states(ids).double().tolist(), []
    for g in range(len(ids) - 1):
        q = [0.0] * VOCAB
        for i in range(max(0, g - entries), g):
            dot = sum(a * b for a, b in zip(seen[g], seen[i], strict=True))
            q[ids[i + 1]] += math.exp(6.0 * dot / (math.hypot(*seen[g]) * math.hypot(*seen[i])))
        found.append([value / max(sum(q), 1e-300) for value in q])
    return found


def weights_used(mixed: Tensor, plain: Tensor, q: Tensor) -> Tensor:
    """λ of every row, where q and p differ most."""
    p, p_mixed = plain.double().exp(), mixed.double().exp()
    at = (q - p).abs().argmax(1, keepdim=True)
    return ((p_mixed - p).gather(1, at) / (q - p).gather(1, at))[:, 0]


@pytest.mark.parametrize("entries", [1, 5, 30, 1000])
def test_every_row_is_mixed_with_what_the_formula_says(entries: int):
    ids = random_stream(120)
    mixed, plain = walk([cache(entries)], ids, block=25, chunk=500), log_probs(ids)[:-1]
    q = torch.tensor(expected(ids, entries), dtype=torch.float64)[1:]
    assert torch.equal(mixed[0], plain[0])
    used = weights_used(mixed[1:], plain[1:], q)
    assert torch.allclose(used, torch.full_like(used, 0.05), rtol=0.03), "nothing is learnt yet"
    wanted = (1 - used[:, None]) * plain[1:].double().exp() + used[:, None] * q
    assert torch.allclose(mixed[1:].double().exp(), wanted, atol=1e-6)
    assert mixed.logsumexp(1).abs().max() < 2e-6


@pytest.mark.parametrize(("block", "rows"), [(1, 256), (7, 3), (64, 5)])
def test_the_cut_into_blocks_and_slices_does_not_matter(block: int, rows: int, monkeypatch):
    ids = random_stream(200)
    wanted = walk([cache()], ids, block=64, chunk=64)
    monkeypatch.setattr(neural_cache, "ROWS", rows)
    assert torch.allclose(walk([cache()], ids, block=block, chunk=64), wanted, atol=1e-5)


@pytest.mark.parametrize("g", [0, 30, 62, 63, 64, 100])
def test_rows_depend_on_nothing_after_them(g: int):
    ids = random_stream(200)
    other = np.concatenate([ids[: g + 1], np.random.default_rng(1).integers(0, VOCAB, 199 - g)])
    one, two = (walk([cache()], x, block=16, chunk=64) for x in (ids, other))
    assert torch.equal(one[: g + 1], two[: g + 1])
    assert not torch.equal(one[g + 1 :], two[g + 1 :])


def test_targets_change_rows_from_the_next_chunk_on():
    ids = random_stream(200)
    true, false = (
        walk([cache()], ids, block=10, chunk=100, heard=heard)
        for heard in (lambda targets: targets, np.zeros_like)
    )
    assert torch.equal(true[:100], false[:100])
    assert not torch.equal(true[100:], false[100:])


def test_two_ranks_are_one():
    ids = random_stream(200)
    one, *two = (cache() for _ in range(3))
    wanted = walk([one], ids, block=9, chunk=64)
    assert torch.allclose(walk(two, ids, block=9, chunk=64), wanted, atol=1e-5)
    assert two[0].figures() == two[1].figures()
    assert two[0].figures() == pytest.approx(one.figures())


def test_a_resumed_walk_is_the_uninterrupted_one():
    ids = random_stream(300)
    whole, start, rest = (cache() for _ in range(3))
    wanted = walk([whole], ids, block=16, chunk=64)
    walk([start], ids[:129], block=16, chunk=64)
    rest.restore(start.state())
    rest.reread(ids[:128])
    assert torch.equal(walk([rest], ids, block=16, chunk=64, first=128), wanted[128:])
    assert rest.figures() == whole.figures()


def test_memory_holds_the_entries_and_no_more():
    part = cache(entries=20)
    walk([part], random_stream(100), block=33, chunk=66)
    state = part.state()
    assert state["states"].shape == (20, 8)
    assert state["states"].untyped_storage().nbytes() == 20 * 8 * 4
    assert state["tokens"].tolist() == random_stream(100)[79:99].tolist()


def test_what_repeats_itself_is_gained():
    ids = np.tile(np.random.default_rng(0).permutation(VOCAB), 20)
    part, plain = cache(entries=100), log_probs(ids)
    mixed = walk([part], ids, block=16, chunk=64)
    target = torch.from_numpy(ids[1:])[:, None]
    gains = (mixed - plain[:-1]).gather(1, target)[:, 0]
    assert gains[-64:].mean() > gains[:64].mean() + 0.3
    figures = part.figures()
    assert figures["rows"] == len(ids) - 2
    assert figures["gain_nats"] == pytest.approx(float(gains.sum()), rel=1e-4)
    assert 0.05 < figures["weight"] < 0.95


@pytest.mark.parametrize("field", ["entries", "sharpness"])
def test_bad_settings_are_refused(field: str):
    with pytest.raises(InputError, match=f"{field}=0 must be above zero"):
        NeuralCacheSettings(**{field: 0})
