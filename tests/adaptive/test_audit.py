"""The audit lets every combination of the parts pass and catches each way to cheat, naming it."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import asdict

import cheats
import numpy as np
import pytest
import torch
from cheats import STREAM, WINDOW, Cheat
from tiny_passes import MODELS, VOCAB, random_tokens, tiny_model

from tmt.adaptive.audit import AuditReport, RuleError, audit, audit_settings
from tmt.adaptive.audit.training_watch import telltale_stream
from tmt.adaptive.matching import make_matcher
from tmt.adaptive.memory_bank import MemoryBank
from tmt.adaptive.neural_cache import NeuralCache, NeuralCacheSettings
from tmt.adaptive.part import Part
from tmt.adaptive.score_first_training import ScoreFirstTraining, TrainingSettings
from tmt.adaptive.scoring import AdaptivePass, PassSettings
from tmt.adaptive.tap_in import TapIn, TapInSettings
from tmt.errors import InputError
from tmt.evaluate.windows import Tokens
from tmt.model.base import LanguageModel
from tmt.training.distributed import Ranks

MakePart = Callable[[LanguageModel, Tokens], Part]
RANKS = Ranks(torch.device("cpu"))
RULES = ["C1 strict causality", "C2 normalised", "C3 score before update", "C4 single pass"]


def training(**settings: object) -> MakePart:
    return lambda model, tokens: ScoreFirstTraining(model, TrainingSettings(lr=0.05, **settings), WINDOW)


def tap_in(**settings: object) -> MakePart:
    chosen = TapInSettings(within=0.2, cross=0.3, **settings)
    cut = dict(vocab_size=VOCAB, document_start=0, window=WINDOW, stride=WINDOW // 4)
    return lambda model, tokens: TapIn(chosen, make_matcher(chosen.mode, **cut))


def cache(model: LanguageModel, tokens: Tokens) -> Part:
    return NeuralCache(NeuralCacheSettings(entries=100))


def memory(model: LanguageModel, tokens: Tokens) -> Part:
    return MemoryBank(model, WINDOW)


def audited(
    *parts: MakePart, variant: str = "transformer", kind: type[AdaptivePass] = AdaptivePass
) -> AuditReport:
    model = tiny_model(variant, max_seq_len=WINDOW).double()
    settings = audit_settings(model.config)

    def make(tokens: Tokens) -> AdaptivePass:
        own = copy.deepcopy(model)
        return kind(own, tokens, [part(own, tokens) for part in parts], settings, RANKS)

    return audit(make, STREAM)


def broken(report: AuditReport) -> dict[str, str]:
    """What is wrong, by the first two letters of the rule."""
    return {finding.rule[:2]: finding.violation for finding in report.findings if not finding.passed}


ALLOWED = {
    "sliding": [],
    "training": [training()],
    "controls and pairs": [training(weights="controls", pair_rows=64)],
    "low rank": [training(weights="lora", rank=2)],
    "tap-in": [tap_in()],
    "tap-in learnt": [tap_in(mode="document", weights="learned")],
    "cache": [cache],
    "all": [training(pair_rows=64), cache, tap_in(weights="learned")],
}


@pytest.mark.parametrize("name", ALLOWED)
def test_every_part_passes(name: str):
    report = audited(*ALLOWED[name])
    report.require()
    assert [finding.rule for finding in report.findings] == RULES
    assert report.findings[0].figure < 1e-9
    assert json.loads(json.dumps(asdict(report)))["findings"][3]["passed"]


@pytest.mark.parametrize("variant", MODELS)
def test_every_architecture_passes_with_all_parts(variant: str):
    streamed = [memory] if variant == "plain" else []
    report = audited(training(pair_rows=64), *streamed, cache, tap_in(), variant=variant)
    report.require()
    assert report.findings[0].figure < 1e-9
    assert "12 steps of optimisers and 12 forward passes" in report.findings[2].checked


CHEATS = {
    cheats.PeeksInTheBlock: ("C1", "the loss after cheat at position .* in a block of its own"),
    cheats.PeeksAfterOneToken: ("C1", "the loss after cheat at position .* in a block of its own"),
    cheats.PeeksEverySeventeenth: ("C1", "the loss after cheat at position .* in a block of its own"),
    cheats.HintsOnlyWhereRight: ("C1", "the loss after cheat at position .* in a block of its own"),
    cheats.KnowsTheStream: ("C1", "after cheat at position .* when only tokens after position"),
    cheats.Diverges: ("C1", "after cheat at position .* changes by inf"),
    cheats.BlendsOneToken: ("C2", "sum of probabilities after cheat is .* off 0 at position"),
    cheats.Widens: ("C2", "after cheat is 1 entries off the vocabulary"),
    cheats.WritesIntoWhatItWasGiven: ("C2", "the distribution after the model changes by .* at position"),
    cheats.ChangesItsMind: ("C2", "the distribution after cheat changes by .* at position"),
    cheats.TrainsBeforeBooking: (
        "C1 C3",
        "training reads the token of position .* when 0 targets are booked",
    ),
    cheats.WritesWeightsBeforeBooking: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.SwapsRows: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.NegatesATensor: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.FillsAConstantTensor: ("C1 C3", "the model's weights change when .* targets are booked"),
    cheats.TrainsOnTheNextChunk: (
        "C1 C3",
        "training reads the token of position .* when 64 targets are booked",
    ),
    cheats.TrainsOneTokenAhead: (
        "C1",
        "the distribution after the model at position 128 .* after position 128",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_part_that_cheats_is_caught(cheat: type[Cheat]):
    rules, words = CHEATS[cheat]
    report = audited(cheat)
    found = broken(report)
    assert list(found) == rules.split()
    assert re.search(words, found[rules[-2:]])
    with pytest.raises(RuleError, match=f"the score breaks the rules; {rules[:2]}"):
        report.require()


def test_the_part_that_cheats_is_named_among_others():
    found = broken(audited(tap_in(), cheats.PeeksInTheBlock, cache))
    assert list(found) == ["C1"]
    assert "after cheat at position" in found["C1"]


CHEATING_PASSES = {
    cheats.ScoresTwice: ("C4", "position 0 is blended 2 times"),
    cheats.KeepsTheBetterOfTwo: ("C4", "position 0 is blended 2 times"),
    cheats.LeavesATargetOut: ("C2 C4", "position 63 is scored 0 times"),
    cheats.ScoresTheEndFirst: ("C4", "position 192 is scored after 298"),
    cheats.Flatters: ("C2", "the loss after the model is 0.01 off its distribution's at position"),
}


@pytest.mark.parametrize("kind", CHEATING_PASSES)
def test_a_pass_that_cheats_is_caught(kind: type[AdaptivePass]):
    rules, words = CHEATING_PASSES[kind]
    found = broken(audited(kind=kind))
    assert list(found) == rules.split()
    assert words in found[rules[-2:]]


@pytest.mark.parametrize("vocab_size", [7, 300, 1000])
def test_a_new_token_tells_how_far_the_stream_was_read(vocab_size: int):
    stream = telltale_stream(300, vocab_size, np.random.default_rng(0))
    tokens, first = np.unique(stream, return_index=True)
    assert len(tokens) == min(vocab_size, 300)
    assert stream.max() < vocab_size
    gaps = np.diff(np.sort(first))
    assert gaps.max() - gaps.min() <= 1


def test_a_stream_of_two_chunks_is_too_short():
    model = tiny_model("transformer")
    settings = audit_settings(model.config)
    assert settings == PassSettings(64, 16, 128, batch_size=2)
    with pytest.raises(InputError, match="at least three chunks, 258 tokens, got 257"):
        audit(lambda tokens: AdaptivePass(model, tokens, [], settings, RANKS), random_tokens(257))
