"""A stream scored in windows: each target once, by what it may see, and in the order that keeps it legal."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_passes import CUT, MODELS, VOCAB, Recorded, Spy, make_pass, nats, random_tokens, tiny_model
from torch import Tensor

from tiny_models import BYTES
from tmt.adaptive import scoring
from tmt.adaptive.part import Block, Part
from tmt.errors import InputError
from tmt.evaluate import score
from tmt.evaluate.windows import windows
from tmt.model.base import LanguageModel

SHAPES = {
    "many chunks": (150, {}),
    "a short last window": (68, {}),
    "less than a window": (9, {}),
    "one target": (1, {}),
    "a last chunk of one target": (65, {}),
    "windows side by side": (100, dict(stride=16)),
    "a target at a time": (70, dict(stride=1)),
    "chunks of one window": (100, dict(chunk=16)),
    "one chunk": (100, dict(chunk=512)),
}


class Dilute(Part):
    """Mixes in the uniform distribution."""

    name, reads = "dilute", "nothing"

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        return (log_probs.exp() / 2 + 0.5 / VOCAB).log()


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model("toeplitz")


@torch.no_grad()
def by_hand(model: LanguageModel, tokens: np.ndarray, window: int, stride: int) -> np.ndarray:
    """The loss of every target from a forward pass of its own over exactly the inputs it may see."""
    losses = []
    for cut in windows(len(tokens) - 1, window, stride):
        for end in range(cut.start + cut.length - cut.scored, cut.start + cut.length):
            logits = model(torch.from_numpy(tokens[cut.start : end + 1])[None]).logits[0, -1]
            losses.append(-float(logits.double().log_softmax(-1)[tokens[end + 1]]))
    return np.array(losses)


@given(st.integers(1, 130), st.integers(0, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
def test_every_position_is_blended_booked_and_learnt_once(
    targets: int, halvings: int, window: int, chunk: int, batch_size: int
):
    window *= 16
    tokens, spy, size = random_tokens(targets + 1), Spy(), window * chunk
    cut = dict(window=window, stride=window >> halvings, chunk=size, batch_size=batch_size)
    chunks = list(make_pass(tiny_model("toeplitz"), tokens, spy, **cut).run())
    assert spy.ids == tokens[:-1].tolist()
    assert spy.targets == tokens[1:].tolist()
    assert [c.index for c in chunks] == list(range(len(chunks)))
    assert [(c.start, len(c.nats)) for c in chunks] == [
        (start, min(size, targets - start)) for start in range(0, targets, size)
    ]
    for heard, scored in zip(spy.chunks, chunks, strict=True):
        assert heard.start == scored.start
        assert np.array_equal(heard.ids, tokens[heard.start : heard.start + len(scored.nats) + 1])


@pytest.mark.parametrize(("targets", "cut"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("variant", MODELS)
def test_losses_add_up_to_the_plain_score(variant: str, targets: int, cut: dict[str, int]):
    model, tokens = tiny_model(variant), random_tokens(targets + 1)
    losses = nats(make_pass(model, tokens, **cut).run())
    plan = {**CUT, **cut}
    plain = score(model, tokens, BYTES, context=plan["window"], stride=plan["stride"], progress=False)
    assert losses.shape == (targets, 1)
    assert losses.sum() == pytest.approx(plain.total_nats, rel=1e-5)


@pytest.mark.parametrize("variant", ["transformer", "plain"])
def test_a_targets_loss_is_that_of_its_own_forward_pass(variant: str):
    model, tokens = tiny_model(variant), random_tokens(60)
    losses = nats(make_pass(model, tokens).run())[:, 0]
    np.testing.assert_allclose(losses, by_hand(model, tokens, 16, 8), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("variant", MODELS)
def test_the_widest_stride_is_windows_side_by_side(variant: str):
    model, tokens = tiny_model(variant), random_tokens(129)
    losses = nats(make_pass(model, tokens, stride=16).run())[:, 0]
    inputs, targets = (torch.from_numpy(ids).view(-1, 16) for ids in (tokens[:-1], tokens[1:]))
    expected = model(inputs, targets=targets).nll.flatten()
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", MODELS)
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_batch_size_changes_nothing(variant: str, batch_size: int):
    model, tokens = tiny_model(variant), random_tokens(101)
    some, others = (nats(make_pass(model, tokens, batch_size=size).run()) for size in (3, batch_size))
    np.testing.assert_allclose(some, others, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 24])
def test_rows_are_blended_some_at_a_time(model: LanguageModel, rows: int, monkeypatch: pytest.MonkeyPatch):
    tokens, spy = random_tokens(101), Spy()
    expected = nats(make_pass(model, tokens).run())
    monkeypatch.setattr(scoring, "ROWS", rows)
    sliced = nats(make_pass(model, tokens, spy).run())
    np.testing.assert_allclose(sliced[:, :1], expected, rtol=0, atol=1e-5)
    assert spy.targets == tokens[1:].tolist()
    assert max(count for kind, _, count in spy.events if kind == "blend") == rows


@torch.no_grad()
@pytest.mark.parametrize("variant", [*MODELS, "triangular", "hyena", "forget", "no exits"])
def test_what_the_head_reads_makes_the_logits(variant: str):
    model, tokens = tiny_model(variant), torch.from_numpy(random_tokens(60)).view(3, 20)
    states = model.encode(tokens)
    assert states.shape == (3, 20, 16)
    torch.testing.assert_close(model.predict(states), model(tokens).logits, rtol=0, atol=1e-5)


def test_positions_are_blended_then_booked_and_chunks_learnt_last(model: LanguageModel):
    spy = Spy()
    scoring = make_pass(model, random_tokens(101), spy)
    for chunk, scored in enumerate(scoring.run()):
        kinds = [kind for kind, *_ in spy.events]
        spans = [span for _, *span in spy.events]
        assert kinds == ["blend", "book"] * (len(kinds) // 2) + ["learn"]
        assert spans[:-1:2] == spans[1:-1:2]
        assert all(a + n == b for (a, n), (b, _) in pairwise(spans[:-1:2]))
        assert spans[0][0] == spans[-1][0] == scored.start == 32 * chunk
        assert sum(count for _, count in spans[:-1:2]) == spans[-1][1] == len(scored.nats)
        spy.events.clear()
    assert set(scoring.seconds) == {"model", "spy"}
    assert np.abs(spy.sums).max() < 1e-5


def test_every_part_changes_what_the_one_before_it_made(model: LanguageModel):
    tokens, spy = random_tokens(50), Spy()
    losses = nats(make_pass(model, tokens, Dilute(), spy, Dilute()).run())
    assert losses.dtype == np.float64
    for before, after in ((0, 1), (2, 3)):
        mixed = -np.log(np.exp(-losses[:, before]) / 2 + 0.5 / VOCAB)
        np.testing.assert_allclose(losses[:, after], mixed, rtol=0, atol=1e-5)
    assert np.array_equal(losses[:, 1], losses[:, 2])
    assert np.abs(spy.sums).max() < 1e-5


@pytest.mark.parametrize(("targets", "shares"), [(140, [0, 0.25, 0.5, 0.75, 1]), (64, [0, 1]), (20, [1])])
def test_chunks_know_how_far_they_are(model: LanguageModel, targets: int, shares: list[float]):
    spy = Spy()
    scoring = make_pass(model, random_tokens(targets + 1), spy)
    assert len(list(scoring.run())) == scoring.chunks == len(shares)
    assert [chunk.share for chunk in spy.chunks] == shares
    assert [chunk.last for chunk in spy.chunks] == [share == 1 for share in shares]


@pytest.mark.parametrize("limit", [1, 20, 64, 500])
def test_a_limit_scores_the_first_targets(model: LanguageModel, limit: int):
    tokens, spy = random_tokens(101), Spy()
    limited = make_pass(model, tokens, spy, targets=limit)
    assert limited.targets == min(limit, 100)
    expected = nats(make_pass(model, tokens[: limit + 1]).run())
    np.testing.assert_allclose(nats(limited.run())[:, :1], expected, rtol=0, atol=1e-5)
    assert spy.chunks[-1].last


@pytest.mark.parametrize("known", [8, 31, 32, 40, 64])
@pytest.mark.parametrize("variant", MODELS)
def test_later_tokens_change_no_earlier_loss(variant: str, known: int):
    model, tokens = tiny_model(variant), random_tokens(101)
    other = np.concatenate([tokens[: known + 1], random_tokens(100 - known, seed=1)])
    some, others = (nats(make_pass(model, ids).run())[:, 0] for ids in (tokens, other))
    np.testing.assert_allclose(some[:known], others[:known], rtol=0, atol=1e-6)
    assert np.abs(some - others)[known:].max() > 0.1


@pytest.mark.parametrize("length", [200, 2000])
def test_only_short_spans_of_the_stream_are_read(model: LanguageModel, length: int):
    tokens = Recorded(random_tokens(length))
    for _ in make_pass(model, tokens).run():
        reach = max(stop for _, stop in tokens.spans)
        assert all(reach - start <= 3 * 32 for start, _ in tokens.spans)
        tokens.spans.clear()
    scoring = make_pass(model, tokens, Spy())
    scoring.reread(5)
    assert tokens.spans == [(start, start + 32) for start in range(0, 160, 32)]


def test_starting_late_scores_the_same(model: LanguageModel):
    tokens = random_tokens(150)
    losses = nats(make_pass(model, tokens).run())
    late = list(make_pass(model, tokens).run(first=2))
    assert [chunk.index for chunk in late] == [2, 3, 4]
    assert np.array_equal(nats(late), losses[64:])


REFUSED: dict[str, tuple[Any, ...]] = {
    "stride=7 must divide": (50, dict(stride=7)),
    "chunk=24 must be a multiple": (50, dict(chunk=24)),
    "chunk=0 must": (50, dict(chunk=0)),
    "batch size": (50, dict(batch_size=0)),
    "limit": (50, dict(targets=0)),
    "context=65": (50, dict(window=65, stride=65, chunk=65)),
    "stride=0": (50, dict(stride=0)),
    "stride=32": (50, dict(stride=32)),
    "got 0": (0, {}),
    "got 1": (1, {}),
}


@pytest.mark.parametrize(
    ("message", "length", "cut"), [(m, *case) for m, case in REFUSED.items()], ids=REFUSED
)
def test_what_cannot_be_scored_is_refused(
    model: LanguageModel, message: str, length: int, cut: dict[str, int]
):
    with pytest.raises(InputError, match=message):
        make_pass(model, random_tokens(length), **cut)


@pytest.mark.parametrize("bad", [-1, VOCAB])
@pytest.mark.parametrize("position", [0, 5, 20, 32, 100], ids=lambda p: f"at {p}")
def test_a_token_outside_the_vocabulary_is_named(model: LanguageModel, position: int, bad: int):
    tokens = random_tokens(101)
    tokens[position] = bad
    with pytest.raises(InputError, match=f"token id {bad} is outside the vocabulary of {VOCAB}"):
        nats(make_pass(model, tokens).run())
