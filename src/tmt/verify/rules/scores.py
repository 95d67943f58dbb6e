"""Probabilities over the whole vocabulary, and the loss that belongs to them."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.verify.differences import Difference, number
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule, exact
from tmt.verify.subject import NotOfferedError

IGNORE = -100
TEXT = (
    "Fellow citizens,\r\n\r\n\tthe naïve résumé of 2 × 3 = 6 costs £1.50 — „ganz“ 漢字 "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 ﬁ."
)
"""Text in which characters, letters as seen and bytes are of different number."""
ROUGH = 64
"""Units in the last place that a loss may be off by."""
SUMMED = 512
"""Vocabularies up to this size have the losses of all their tokens summed."""


def _distribution(probe: Probe) -> Iterator[Difference]:
    whole, vocab = probe.whole, probe.subject.vocab_size
    yield number(abs(whole.shape[-1] - vocab), f"{whole.shape[-1]} logits for a vocabulary of {vocab}")
    impossible = int((~whole.isfinite()).sum())
    yield number(impossible, f"{impossible} of {whole.numel()} logits are not finite")
    if vocab > SUMMED:
        return
    tokens = probe.tokens(length=min(4, probe.length))
    targets = torch.full_like(tokens, IGNORE)
    total, eps = 0.0, 0.0
    try:
        for token in range(vocab):
            targets[0, -1] = token
            loss = probe.subject.loss(tokens, targets)
            total, eps = total + float(loss.double().neg().exp()), torch.finfo(loss.dtype).eps
    except NotOfferedError:
        return
    words = f"the losses of all tokens at one position are those of probabilities that sum to {total:.6f}"
    yield number(max(0.0, abs(total - 1) - ROUGH * eps), words)


def _loss(probe: Probe) -> Iterator[Difference]:
    tokens, targets = probe.tokens(2), probe.tokens(2, salt=7)
    logits = probe.subject.logits(tokens)
    for what, mask in _masks(targets).items():
        wanted = targets.masked_fill(~mask, IGNORE)
        expected = float(_reference(logits, wanted))
        for gradients in (False, True):
            with torch.set_grad_enabled(gradients):
                loss = probe.subject.loss(tokens, wanted).detach()
            rough = (
                ROUGH * torch.finfo(loss.dtype).eps
            )  # some take their loss in float32 whatever the weights
            off = max(0.0, abs(float(loss) - expected) - rough)
            yield number(off, _named(float(loss), expected, logits, wanted, what))


def _bytes(probe: Probe) -> Iterator[Difference]:
    context = probe.length
    tokens, told = probe.subject.scored(TEXT, context)
    nats = 0.0
    for start in range(0, len(tokens) - 1, context):
        window = tokens[start : start + context + 1].to(probe.subject.device)
        logits = probe.subject.logits(window[None, :-1])
        nats += float(_reference(logits, window[None, 1:])) * (len(window) - 1)
    size = len(TEXT.encode())
    expected = nats / math.log(2) / size
    where = f"{told:.6g} bits a byte are told of a text of {size} bytes, by the logits {expected:.6g}"
    yield number(abs(told - expected), f"{where} ({told / expected:.4g} times)")


def _masks(targets: Tensor) -> dict[str, Tensor]:
    """Which targets count: all, one, a few, by name."""
    everything = torch.ones_like(targets, dtype=torch.bool)
    one, few = torch.zeros_like(everything), torch.zeros_like(everything)
    one[0, targets.shape[1] // 2] = True
    few[:, :: max(2, targets.shape[1] // 5)] = True
    few[0, -1] = True
    return {"all targets": everything, "one target": one, "a few targets": few}


def _reference(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.double().flatten(0, 1), targets.flatten(), ignore_index=IGNORE)


def _named(given: float, expected: float, logits: Tensor, wanted: Tensor, what: str) -> str:
    """What a wrong loss is the loss of, where that can be told."""
    for shift in (-2, -1, 1, 2):
        inside = slice(None, -shift) if shift > 0 else slice(-shift, None)
        moved = wanted.roll(-shift, 1)[:, inside]
        if (moved == IGNORE).all():
            continue
        if abs(given - float(_reference(logits[:, inside], moved))) < 1e-3 * abs(given - expected):
            way = "on" if shift > 0 else "back"
            return f"the loss of {what} is that of targets {abs(shift)} further {way}"
    ratio = given / expected if expected else float("inf")
    return f"the loss of {what} is {given:.6g}, by the logits {expected:.6g} ({ratio:.4g} times)"


DISTRIBUTION = Rule(
    "distribution",
    "every token of the vocabulary has a probability, all together 1",
    "logits; the losses of all tokens at one position",
    _distribution,
    exact,
)
LOSS = Rule(
    "loss",
    "the loss is that of the logits, each target counted once",
    "all targets, one, a few; with and without gradients",
    _loss,
)
BYTES = Rule(
    "bytes",
    "bits per byte are the bits of the logits over the bytes of the text",
    "a text of many scripts, its bytes counted by themselves",
    _bytes,
)
