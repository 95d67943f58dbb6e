"""The same again, finite at the extremes, unharmed by conversions."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

from tmt.verify.differences import Difference, farthest, number
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule, exact

LONGEST = 1024
"""Tokens of the longest text that is tried."""


def _repeat(probe: Probe) -> Iterator[Difference]:
    again = probe.subject.logits(probe.tokens())
    words = "the same text gives other logits at position {}"
    yield from farthest(again, probe.whole, lambda _, at: words.format(at))


def _extremes(probe: Probe) -> Iterator[Difference]:
    subject = probe.subject
    long = LONGEST if subject.longest is None else min(LONGEST, subject.longest)
    texts = {
        "one token": probe.tokens(length=1),
        f"{long} tokens": probe.tokens(length=long),
        "the first token of the vocabulary again and again": torch.zeros_like(probe.tokens()),
        "its last again and again": torch.full_like(probe.tokens(), subject.vocab_size - 1),
    }
    for what, tokens in texts.items():
        logits = subject.logits(tokens)
        wrong = int((~logits.isfinite()).sum())
        yield number(wrong, f"{wrong} logits of a text of {what} are not finite")
        off = abs(logits.shape[1] - tokens.shape[1])
        yield number(off, f"a text of {what} gives logits at {logits.shape[1]} positions")


def _formats(probe: Probe) -> Iterator[Difference]:
    tokens = probe.tokens()
    wider = probe.subject.converted(torch.float64).converted(probe.subject.dtype)
    words = "the logits of position {} move when weights go to float64 and back"
    yield from farthest(wider.logits(tokens), probe.whole, lambda _, at: words.format(at))
    read = probe.subject.converted(probe.subject.dtype)
    with TemporaryDirectory(prefix="tmt-") as folder:
        path = Path(folder) / "model.safetensors"
        state = read.module.state_dict()
        save_file(
            {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()},
            path,
        )
        with torch.no_grad():
            for weight in read.module.parameters():
                weight.zero_()
        read.module.load_state_dict(load_file(path))
    words = "the logits of position {} are others after the weights were saved and loaded"
    yield from farthest(read.logits(tokens), probe.whole, lambda _, at: words.format(at))


REPEAT = Rule("repeat", "the same text gives the same bits", "one text, twice", _repeat, exact)
EXTREMES = Rule(
    "extremes",
    "logits are finite for every text",
    "one token, the longest text, one token again and again",
    _extremes,
    exact,
)
FORMATS = Rule("formats", "weights survive conversion and a file", "logits before and after", _formats)
