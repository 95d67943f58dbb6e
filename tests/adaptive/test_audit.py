"""The audit lets every combination of the parts pass and catches each way to cheat, naming it."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import asdict

import cheats
import pytest
import torch
from cheats import STREAM, WINDOW, Cheat
from tiny_passes import MODELS, VOCAB, random_tokens, tiny_model

from tmt.adaptive.audit import AuditReport, RuleError, audit, audit_settings
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
RULES = [
    "C1 strict causality",
    "C1 of the model",
    "C2 normalised",
    "C3 score before update",
    "C4 single pass",
    "every part acted",
]


def training(**settings: object) -> MakePart:
    chosen = TrainingSettings(**{"lr": 0.05, "epochs": 1, **settings})
    return lambda model, tokens: ScoreFirstTraining(model, chosen, WINDOW)


def tap_in(**settings: object) -> MakePart:
    chosen = TapInSettings(within=0.2, cross=0.3, **settings)
    cut = dict(vocab_size=VOCAB, document_start=0, window=WINDOW, stride=WINDOW // 4)
    return lambda model, tokens: TapIn(chosen, make_matcher(chosen.mode, **cut))


def cache(model: LanguageModel, tokens: Tokens) -> Part:
    return NeuralCache(NeuralCacheSettings(entries=100))


def memory(model: LanguageModel, tokens: Tokens) -> Part:
    return MemoryBank(model, WINDOW)


def audited(
    *parts: MakePart, model: LanguageModel | None = None, kind: type[AdaptivePass] = AdaptivePass
) -> AuditReport:
    """Of the code that scores, in float32 where nothing else is said."""
    model = tiny_model(max_seq_len=WINDOW, n_layers=1) if model is None else model
    settings = audit_settings(model.config)

    def make(tokens: Tokens) -> AdaptivePass:
        own = copy.deepcopy(model)
        return kind(own, tokens, [part(own, tokens) for part in parts], settings, RANKS)

    return audit(make, STREAM)


def broken(report: AuditReport) -> dict[str, str]:
    """What is wrong, by the first word of the rule."""
    return {finding.rule.split()[0]: finding.violation for finding in report.findings if not finding.passed}


ALLOWED = {
    "sliding": [],
    "controls and pairs": [training(weights="controls", pair_rows=64)],
    "low rank": [training(weights="lora", rank=2)],
    "matching in documents": [tap_in(mode="document", weights="learned")],
    "all": [training(), cache, tap_in(weights="learned")],
}


@pytest.mark.parametrize("name", ALLOWED)
def test_every_part_passes(name: str):
    report = audited(*ALLOWED[name])
    report.require()
    assert [finding.rule for finding in report.findings] == RULES
    assert json.loads(json.dumps([asdict(finding) for finding in report.findings]))[4]["passed"]


@pytest.mark.parametrize("variant", MODELS)
def test_every_architecture_passes_with_all_parts_as_it_scores_and_in_float64(variant: str):
    streamed = [memory] if variant == "plain" else []
    parts = [training(pair_rows=64), *streamed, cache, tap_in()]
    model = tiny_model(variant, max_seq_len=WINDOW)
    report = audited(*parts, model=model).beside(audited(*parts, model=copy.deepcopy(model).double()))
    report.require()
    figures = {finding.rule: finding.figure for finding in report.findings}
    assert figures["C1 strict causality, float64"] < 1e-9
    assert figures["float64 agrees"] < 1e-4
    checked = {finding.rule: finding.checked for finding in report.findings}
    assert "2 optimiser steps" in checked["C3 score before update"]
    assert "training acted 2 times" in checked["every part acted"]
    assert "cache acted 148 times" in checked["every part acted"]


def test_a_leak_of_the_code_in_float32_is_caught():
    model = cheats.AddsTheNextRow(tiny_model(max_seq_len=WINDOW).config).eval()
    report = audited(cache, model=model).beside(audited(cache, model=copy.deepcopy(model).double()))
    wrong = [finding.rule for finding in report.findings if not finding.passed]
    assert wrong == ["C1 strict causality", "C1 of the model", "float64 agrees"]


def test_what_begins_with_the_separator_is_not_accused():
    audited(cheats.BeginsWithTheSeparator).require()


@pytest.mark.parametrize("part", [cheats.Idle, training(weights="controls", epochs=1, clip=0.0)])
def test_a_part_that_never_acted_is_no_pass(part: MakePart):
    report = audited(part, cache)
    assert [*broken(report)] == ["every"]
    with pytest.raises(RuleError, match="changed nothing in 149 positions: nothing to audit"):
        report.require()


CHEATS = {
    cheats.PeeksInTheBlock: ("C1", "the loss after cheat at position .* where no part knows later"),
    cheats.PeeksAfterOneToken: ("C1", "the loss after cheat at position .* where no part knows later"),
    cheats.PeeksEverySeventeenth: ("C1", "the loss after cheat at position .* where no part knows later"),
    cheats.PeeksInTheStream: ("C1", "the loss after cheat at position .* where no part knows later"),
    cheats.HintsOnlyWhereRight: ("C1", "the loss after cheat at position .* where no part knows later"),
    cheats.KnowsTheStream: ("C1", "after cheat at position .* where no part knows later"),
    cheats.Diverges: ("C1 every", "after cheat at position .* changes by inf"),
    cheats.BlendsOneToken: ("C2", "sum of probabilities after cheat is .* off 0 at position"),
    cheats.Widens: ("C2", "after cheat is 1 entries off the vocabulary"),
    cheats.WritesIntoWhatItWasGiven: ("C2", "the distribution after the model changes by .* at position"),
    cheats.ChangesItsMind: ("C2 every", "the distribution after cheat changes by .* at position"),
    cheats.TrainsBeforeBooking: ("C1 C3", "an optimiser steps when 0 targets are booked"),
    cheats.WritesWeightsBeforeBooking: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.SwapsRows: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.NegatesATensor: ("C1 C3", "the model's weights change when 0 targets are booked"),
    cheats.FillsAConstantTensor: ("C1 C3", "the model's weights change when .* targets are booked"),
    cheats.TrainsOnTheNextChunk: ("C1 C3", "reads the token of position 96 when 64 targets are booked"),
    cheats.TrainsAheadThroughEncode: ("C1 C3", "reads the token of position 96 when 64 targets are booked"),
    cheats.TrainsOneTokenAhead: ("C1 C3", "reads the token of position 65 when 64 targets are booked"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_part_that_cheats_is_caught(cheat: type[Cheat]):
    rules, words = CHEATS[cheat]
    report = audited(cheat)
    found = broken(report)
    assert list(found) == rules.split()
    assert re.search(words, "\n".join(found.values()))
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
    cheats.ScoresTheEndFirst: ("C4", "position 64 is scored after 148"),
    cheats.Flatters: ("C2", "the loss after the model is 0.01 off its distribution's at position"),
}


@pytest.mark.parametrize("kind", CHEATING_PASSES)
def test_a_pass_that_cheats_is_caught(kind: type[AdaptivePass]):
    rules, words = CHEATING_PASSES[kind]
    found = broken(audited(kind=kind))
    assert list(found) == rules.split()
    assert words in found[rules[-2:]]


def test_a_stream_of_two_chunks_is_too_short():
    model = tiny_model("transformer")
    settings = audit_settings(model.config)
    assert settings == PassSettings(64, 16, 128, batch_size=2)
    with pytest.raises(InputError, match="at least three chunks, 258 tokens, got 257"):
        audit(lambda tokens: AdaptivePass(model, tokens, [], settings, RANKS), random_tokens(257))
