"""Every rule can fail, at the right model, and no sound one is accused."""

import pytest
import torch
from zoo import FAULTS, Apart, Averager, LateLeak, Restless, Tie, transformer

from tmt.verify import RULES, BrokenRuleError, check, subject_of
from tmt.verify.probe import Probe

LENGTH = 24


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_by_its_rules_alone(name: str):
    make, rules = FAULTS[name]
    report = check(make(), length=LENGTH)
    assert {finding.rule for finding in report.broken} == rules
    assert all(finding.where for finding in report.broken)


def test_every_rule_has_a_fault():
    named = frozenset.union(*(rules for _, rules in FAULTS.values()))
    assert named | {"repeat", "reordered", "stored", "bytes"} == RULES.keys()


def test_noise_is_found_by_the_same_text_twice():
    assert "repeat" in {
        finding.rule for finding in check(subject_of(Restless().eval()), length=LENGTH).broken
    }


@pytest.mark.parametrize("make", [Averager, Apart, transformer])
def test_a_sound_model_is_not_accused(make):
    report = check(subject_of(make().eval()), length=LENGTH)
    assert report.passed, [str(finding) for finding in report.broken]
    report.require()


@torch.no_grad()
def test_a_choice_that_rounding_tips_is_no_fault():
    probe = Probe(subject_of(Tie().eval()), LENGTH, seed=0)
    limit = probe.limit
    assert max(difference.size for difference in RULES["prefix"].check(probe)) > 100 * limit
    assert check(probe.subject, only=["prefix"], length=LENGTH).passed


def test_what_is_not_claimed_is_said():
    report = check(subject_of(Averager().eval()), length=LENGTH)
    silent = {finding.rule: finding.where for finding in report if finding.verdict == "not claimed"}
    assert silent.keys() == {
        "bytes",
        "documents",
        "padding",
        "shift",
        "cached",
        "ragged",
        "reordered",
        "stored",
        "twice",
    }
    assert all(silent.values())


def test_a_fault_of_a_fast_path_is_seen_in_its_own_format_only():
    make, _ = FAULTS["LeakInSinglePrecision"]
    assert {finding.dtype for finding in check(make(), length=LENGTH).broken} == {"float32"}


@pytest.mark.parametrize(("edges", "formats"), [((), set()), ((80,), {"float32"})])
def test_texts_reach_the_edges_of_a_model_in_its_own_format(edges: tuple[int, ...], formats: set[str]):
    subject = subject_of(LateLeak().eval())
    subject.edges = edges
    assert {finding.dtype for finding in check(subject, only=["future"]).broken} == formats


def test_a_faint_leak_is_seen_where_rounding_does_not_hide_it():
    make, _ = FAULTS["FaintLeak"]
    assert {finding.dtype for finding in check(make(), length=LENGTH).broken} == {"float64"}


def test_a_wrong_loss_is_told_apart():
    shifted, doubled = (
        check(FAULTS[name][0](), only=["loss"], length=LENGTH) for name in ("ShiftedLoss", "CountedTwice")
    )
    assert "further on" in shifted.broken[0].where
    assert "by the logits" in doubled.broken[0].where


def test_a_broken_report_can_stop_a_program():
    with pytest.raises(BrokenRuleError, match="future"):
        check(FAULTS["TwoSidedMean"][0](), length=LENGTH).require()


def test_a_model_is_left_as_it_was():
    model = Averager().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check(subject_of(model), length=LENGTH)
    assert model.training
    assert all((tensor == before[name]).all() for name, tensor in model.state_dict().items())
