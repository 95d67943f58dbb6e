"""A part of a score in a file: it scores, is held to the rules like ours, and is kept apart from others."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result

pytest_plugins = ["command_line"]

HONEST = """
import math
import torch
from torch.nn.functional import one_hot
from tmt.adaptive import Part
class Counts(Part):
    name, reads = "counts", "the tokens so far"
    def __init__(self, model):
        self.counts = torch.ones(model.config.vocab_size)
    def blend(self, block, log_probs):
        came = one_hot(torch.from_numpy(block.ids).long(), len(self.counts)).cumsum(0)
        counts = (self.counts + came)[block.own].to(log_probs)
        share = counts / counts.sum(-1, keepdim=True)
        return torch.logaddexp(log_probs + math.log(0.3), share.log() + math.log(0.7))
    def book(self, block, targets):
        self.counts += torch.from_numpy(block.ids).long().bincount(minlength=len(self.counts))
    def state(self):
        return {"counts": self.counts}
    def restore(self, state):
        self.counts = state["counts"]
"""
Score = Callable[..., Result]


@pytest.fixture
def score(tmt: Callable[..., Result], trained: Path, tmp_path: Path) -> Score:
    """`score(code, *options)`: with a part of that code, in tmp_path / "mine.py"."""

    def run(code: str | None, *options: str) -> Result:
        if code is not None:
            (tmp_path / "mine.py").write_text(code, encoding="utf-8")
        cut = ["--window=16", "--stride=4", "--chunk=64", "--limit=256", "--device=cpu", "--json"]
        return tmt("score", trained, f"--part={tmp_path / 'mine.py'}", *cut, *options)

    return run


def test_it_is_the_last_stage_and_gives_what_it_says(score: Score):
    record = json.loads(score(HONEST, "--cache=64", "--gains", "--audit").out)
    adapted = record["passes"]["adapted"]
    assert [*adapted["stages"]] == ["model", "cache", "counts"]
    assert record["parts"] == ["cache", "own"]
    assert record["part_code_bytes"] == len(HONEST)
    assert {"sliding + own", "sliding + cache"} <= record["passes"].keys()
    alone = record["passes"]["sliding + own"]
    assert adapted["stages"]["cache"] - adapted["stages"]["counts"] > 0  # of two steps of training
    assert alone["stages"]["counts"] < alone["stages"]["model"]
    assert all(finding["passed"] for finding in record["audit"])


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        (".cumsum(0)", ".sum(0, keepdim=True).expand(len(block.ids), -1)", "C1 strict causality"),
        ("(self.counts + came)", "self.counts.expand(len(block.ids), -1)", "C1 .*in blocks of one position"),
        ("math.log(0.3)", "math.log(0.4)", "C2 normalised"),
        ("return torch.logaddexp", "return log_probs\n        torch.logaddexp", "counts changed nothing"),
    ],
)
def test_the_audit_names_what_it_breaks(old: str, new: str, broken: str, score: Score):
    assert HONEST.count(old) == 1
    result = score(HONEST.replace(old, new), "--audit")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert re.search(f"^tmt: the score breaks the rules; .*{broken}", result.err)


def test_a_kept_score_is_of_that_file_alone(score: Score, tmp_path: Path):
    out = f"--out={tmp_path / 'scores'}"
    first = json.loads(score(HONEST, out).out)
    again = json.loads(score(HONEST, out).out)
    assert again["passes"] == first["passes"]
    assert (
        "holds the score of another model, stream or settings" in score(HONEST + "# changed\n", out).complaint
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, "there is no file .*mine.py"),
        ("x = 3", "has no part, which is a class that extends Part"),
        (HONEST.replace("name, reads =", "name, reeds ="), "Counts in .* has no `reads`"),
        (
            HONEST.replace("self, model", "self"),
            "cannot be made with the model: .* takes 1 ",
        ),
        (HONEST + HONEST.replace("Counts", "Other"), "several parts: say .*:Name with one of Counts, Other"),
        ("1 / 0", "importing .* raises ZeroDivisionError"),
    ],
)
def test_what_is_no_part_is_one_line(code: str | None, said: str, score: Score):
    assert re.search(said, score(code).complaint)
