"""Nothing depends on what comes later, or on another document."""

from collections.abc import Iterator

import torch
from torch import Tensor

from tmt.verify.differences import Difference, farthest, number
from tmt.verify.probe import Probe
from tmt.verify.rules.rule import Rule
from tmt.verify.subject import NotOfferedError, Subject

TOGETHER = 8
"""Texts of other futures in one batch at most."""
LOGITS = 2**25
"""Logits of such a batch at most."""


def _by_value(probe: Probe) -> Iterator[Difference]:
    """A text beside texts that differ from it after each cut, in batches of one size."""
    tokens, cuts = probe.tokens(), probe.cuts
    together = max(1, min(TOGETHER, LOGITS // (probe.length * probe.subject.vocab_size)))
    for start in range(0, len(cuts), together):
        some = cuts[start : start + together]
        rows = tokens.repeat(1 + together, 1)
        for row, cut in enumerate(some, start=1):
            rows[row, cut + 1 :] = probe.others(tokens[0, cut + 1 :], cut)
        logits = probe.subject.logits(rows)
        for row, cut in enumerate(some, start=1):
            words = f"the logits of position {{}} move when only tokens after position {cut} change"
            own, other = logits[:1, : cut + 1], logits[row : row + 1, : cut + 1]
            yield from farthest(other, own, lambda _, at, words=words: words.format(at))


def _by_gradient(probe: Probe) -> Iterator[Difference]:
    """In units of the logits: a gradient's share of the largest one, times the largest logit."""
    tokens, largest = probe.tokens(), float(probe.whole.abs().nan_to_num(posinf=0).max())
    with torch.enable_grad():
        embedded = probe.subject.embedded(tokens).detach().requires_grad_()
        logits = probe.subject.logits_of(tokens, embedded)
        for cut in probe.few_cuts:
            told = logits[0, cut][logits[0, cut].isfinite()].square().sum()
            (gradient,) = torch.autograd.grad(told, embedded, retain_graph=True)
            sizes = gradient[0].abs().amax(-1)
            later = sizes[cut + 1 :]
            at = cut + 1 + int(later.argmax())
            words = f"the logits of position {cut} have a gradient by the token at position {at}"
            yield number(float(later.max() / sizes.max().clamp(min=1e-30)) * largest, words)


def _prefix(probe: Probe) -> Iterator[Difference]:
    tokens = probe.tokens()
    for cut in probe.few_cuts:
        alone = probe.subject.logits(tokens[:, : cut + 1])
        words = f"the logits of position {{}} are others in a text that ends at position {cut}"
        whole = probe.whole[:, : cut + 1]
        yield from farthest(alone, whole, lambda _, at, words=words: words.format(at))


def _training(probe: Probe) -> Iterator[Difference]:
    if probe.subject.trains_causally is not None:
        raise NotOfferedError(probe.subject.trains_causally)
    subject = probe.subject.converted(probe.subject.dtype)
    subject.module.train()
    tokens = probe.tokens()
    whole = _seeded(subject, tokens, probe.seed)
    for cut in probe.few_cuts:
        other = torch.cat([tokens[:, : cut + 1], probe.others(tokens[:, cut + 1 :], cut)], 1)
        words = f"in training the logits of position {{}} move when only tokens after position {cut} change"
        logits = _seeded(subject, other, probe.seed)[:, : cut + 1]
        yield from farthest(logits, whole[:, : cut + 1], lambda _, at, words=words: words.format(at))


def _seeded(subject: Subject, tokens: Tensor, seed: int) -> Tensor:
    """Logits with the same dropout masks every time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return subject.logits(tokens)


def _documents(probe: Probe) -> Iterator[Difference]:
    separator = probe.subject.separator
    if separator is None:
        raise NotOfferedError("documents in one row are not claimed to be kept apart")
    tokens = probe.tokens()
    tokens = torch.where(tokens == separator, (tokens + 1) % probe.subject.vocab_size, tokens)
    for start in [cut for cut in probe.few_cuts if cut]:
        parted = tokens.clone()
        parted[:, start] = separator
        other = torch.cat([probe.others(tokens[:, :start], start), parted[:, start:]], 1)
        logits, expected = (probe.subject.logits(x)[:, start:] for x in (other, parted))
        words = f"the logits of position {{}} move when only the document before position {start} changes"
        yield from farthest(logits, expected, lambda _, at, words=words: words.format(at), start)


BY_VALUE = Rule(
    "future",
    "no logit depends on later tokens",
    "every cut, all tokens after it replaced",
    _by_value,
)
BY_GRADIENT = Rule(
    "gradient",
    "no gradient flows from a logit to a later token",
    "logits at cuts by all embedded tokens",
    _by_gradient,
)
PREFIX = Rule("prefix", "a text's beginning reads alone as in the whole", "prefixes and the whole", _prefix)
TRAINING = Rule(
    "training",
    "no logit depends on later tokens while the model trains",
    "cuts in training mode, the same random draws",
    _training,
)
DOCUMENTS = Rule(
    "documents",
    "nothing crosses from one document into the next",
    "the document before a separator replaced",
    _documents,
)
