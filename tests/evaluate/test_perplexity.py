import math

import numpy as np
import pytest
import torch

from tiny_models import BYTES, MIXERS, VARIANTS, stream, tiny
from tmt.errors import InputError
from tmt.evaluate import score
from tmt.evaluate.windows import windows

TOKENS = stream("The mesh of tokens, seen twice: the mesh of tokens.", "Ünïcode – and an end")
MODELS = ["plain", "forget", "no exits", "transformer"]


def by_hand(model, tokens: np.ndarray, context: int, stride: int) -> list[float]:
    """The loss of every target from its own forward pass over exactly the inputs it may see."""
    losses = []
    for window in windows(len(tokens) - 1, context, stride):
        for t in range(window.length - window.scored, window.length):
            seen = torch.from_numpy(tokens[window.start : window.start + t + 1])
            logits = model(seen[None]).logits[0, -1]
            target = int(tokens[window.start + t + 1])
            losses.append(-float(logits.double().log_softmax(-1)[target].detach()))
    return losses


@pytest.mark.parametrize("stride", [16, 5, 1])
@pytest.mark.parametrize("variant", MODELS)
def test_score_is_the_sum_of_every_targets_own_loss(variant: str, stride: int):
    model, tokens = tiny(variant), TOKENS[:26]
    result = score(model, tokens, BYTES, context=16, stride=stride, batch_size=3, progress=False)
    losses = by_hand(model, tokens, 16, stride)
    assert len(losses) == result.tokens == len(tokens) - 1
    assert result.total_nats == pytest.approx(sum(losses), rel=1e-5)


def test_loss_by_position_is_the_mean_of_the_losses_there():
    model, tokens = tiny("transformer"), TOKENS[:40]
    result = score(model, tokens, BYTES, context=13, stride=9, batch_size=3, progress=False)
    sums: dict[str, list[float]] = {}
    losses = iter(by_hand(model, tokens, 13, 9))
    names = ["1", "2", "3-4", "3-4", *["5-8"] * 4, *["9-13"] * 5]
    for window in windows(len(tokens) - 1, 13, 9):
        for t in range(window.length - window.scored, window.length):
            sums.setdefault(names[t], []).append(next(losses))
    expected = {name: sum(values) / len(values) for name, values in sums.items()}
    assert result.nats_by_position == pytest.approx(expected, rel=1e-5)
    assert list(result.nats_by_position) == ["1", "2", "3-4", "5-8", "9-13"]


def test_units():
    result = score(tiny(), TOKENS, BYTES, context=16, stride=16, progress=False)
    text = "The mesh of tokens, seen twice: the mesh of tokens.", "Ünïcode – and an end"
    assert result.bytes == sum(len(part.encode()) for part in text)
    assert result.words == sum(len(part.split()) for part in text)
    assert result.nats == result.total_nats / (len(TOKENS) - 1)
    assert result.ppl == pytest.approx(math.exp(result.nats))
    assert result.bpb == pytest.approx(result.total_nats / math.log(2) / result.bytes)
    assert math.log(result.word_ppl) * result.words == pytest.approx(result.total_nats)


def test_text_of_no_bytes_has_no_bits_per_byte():
    result = score(tiny(), stream("", ""), BYTES, context=16, stride=16, progress=False)
    assert math.isnan(result.bpb)
    assert math.isnan(result.word_ppl)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_batching_changes_nothing(batch_size: int):
    model = tiny()
    one, many = (score(model, TOKENS, BYTES, context=8, stride=4, batch_size=b, progress=False)
                 for b in (4, batch_size))  # fmt: skip
    assert one.total_nats == pytest.approx(many.total_nats, rel=1e-6)
    np.testing.assert_array_equal(one.layers_run, many.layers_run)
    assert one.flops_dense == many.flops_dense


def test_limit_scores_the_first_targets():
    model = tiny()
    limited = score(model, TOKENS, BYTES, context=8, stride=8, limit=11, progress=False)
    cut = score(model, TOKENS[:12], BYTES, context=8, stride=8, progress=False)
    assert limited.tokens == 11
    assert limited.total_nats == pytest.approx(cut.total_nats, rel=1e-6)
    assert limited.bytes == cut.bytes


def test_flops_count_the_passes_that_ran():
    model = tiny("transformer")
    result = score(model, TOKENS[:33], BYTES, context=8, stride=8, progress=False)
    assert result.flops == result.flops_dense == 4 * model.flops(8)
    assert result.flops_per_token == result.flops_per_token_dense == model.flops(8) / 8


def test_the_head_reads_scored_positions_only():
    model = tiny("transformer")
    result = score(model, TOKENS[:17], BYTES, context=8, stride=4, progress=False)
    assert result.flops == result.flops_dense == 3 * model.flops(8) - model.head_flops(2 * 4)


def test_overlap_costs_and_exits_save():
    model = tiny()
    apart, sliding = (score(model, TOKENS, BYTES, context=8, stride=s, progress=False) for s in (8, 2))
    assert sliding.flops_per_token > 2.5 * apart.flops_per_token
    assert apart.flops < apart.flops_dense
    assert sliding.flops < sliding.flops_dense


def test_depth_adds_up():
    result = score(tiny(), TOKENS, BYTES, context=16, stride=16, progress=False)
    assert result.layers_run.sum() == result.layer_tokens.sum()
    assert result.seen.sum() == len(TOKENS) - 1
    assert result.layer_share[0] == result.layer_share[-1] == 1
    assert 0.5 < result.mean_depth < 1
    assert result.mean_layers == pytest.approx(sum(result.layer_share))


@pytest.mark.parametrize("variant", [*VARIANTS, "transformer", *MIXERS])
def test_a_token_costs_the_same_in_any_batch(variant: str):
    """What leaves and what stays alike: neither padding nor what a batch shares depends on its size."""
    model = tiny(variant)
    scores = [
        score(model, TOKENS, BYTES, context=8, stride=4, batch_size=b, progress=False) for b in (1, 4, 100)
    ]
    assert len({each.flops for each in scores}) == len({each.flops_dense for each in scores}) == 1
    exits = getattr(model.config, "exits", False)
    assert (scores[0].flops < scores[0].flops_dense) == exits


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("variant", ["no exits", "transformer", "toeplitz"])
def test_without_exits_every_layer_runs(variant: str, batch_size: int):
    result = score(tiny(variant), TOKENS, BYTES, context=16, stride=16, batch_size=batch_size, progress=False)
    assert result.mean_depth == 1
    assert result.flops == result.flops_dense


def test_the_model_stays_in_its_mode():
    model = tiny().train()
    score(model, TOKENS, BYTES, context=16, stride=16, progress=False)
    assert model.training


@pytest.mark.parametrize("option", ["batch_size", "limit"])
def test_bad_options_are_named(option: str):
    with pytest.raises(InputError, match=f"{option}=0"):
        score(tiny(), TOKENS, BYTES, context=8, stride=8, progress=False, **{option: 0})


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]):
    score(tiny(), TOKENS, BYTES, context=16, stride=16)
    assert capsys.readouterr().out == ""
