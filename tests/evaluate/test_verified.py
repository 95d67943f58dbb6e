"""Bits per byte as `tmt eval` tells them, held to the logits and to bytes that are counted otherwise."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tmt.checkpoint import Run
from tmt.evaluate.verified import Evaluated
from tmt.model import build_model
from tmt.model.transformer import TransformerConfig
from tmt.tokens.byte_level import ByteTokenizer
from tmt.verify import check


def run() -> Run:
    torch.manual_seed(0)
    config = TransformerConfig(vocab_size=257, max_seq_len=64, d_model=16, n_heads=2, n_layers=1, ffn_dim=24)
    return Run(Path("run"), None, build_model("transformer", config).eval(), ByteTokenizer())


class PerCharacter(Evaluated):
    def scored(self, text: str, context: int) -> tuple[torch.Tensor, float]:
        ids, bits = super().scored(text, context)
        return ids, bits * len(text.encode()) / len(text)


class FirstAgain(Evaluated):
    """The first target of every window is counted by its neighbour too."""

    def scored(self, text: str, context: int) -> tuple[torch.Tensor, float]:
        ids, bits = super().scored(text, context)
        return ids, bits * (1 + 1 / len(ids))


def finding(view: type[Evaluated]) -> Any:
    (found,) = check(view(run()), only=["bytes"], length=24, dtypes=[torch.float32])
    return found


def test_what_is_told_is_right():
    assert finding(Evaluated).verdict == "holds"


@pytest.mark.parametrize("view", [PerCharacter, FirstAgain])
def test_another_count_is_named(view: type[Evaluated]):
    found = finding(view)
    assert found.verdict == "broken"
    assert "bits a byte are told of a text of 117 bytes" in found.where


def test_a_tokenizer_that_rewrites_is_not_held_to_the_raw_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ByteTokenizer, "rewrites_text", True)
    assert finding(Evaluated).verdict == "not claimed"
