"""How likely continuations are after their contexts, many at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.tokens import Tokenizer


@dataclass(frozen=True)
class Continuation:
    """The ids that a model reads, and the ones wanted after the last `len(targets)` of them."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Likelihood:
    """What a model makes of a continuation."""

    log_probability: float
    """Of all its tokens together, in nats."""
    greedy: bool
    """Whether every token is the likeliest one after those before it."""


def encode_pairs(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], context: int) -> list[Continuation]:
    """Texts and what may follow them as token ids, each pair the start of a document.

    Both parts are encoded as one string. White space at the end of a text, and a token that reaches over
    the border, belong to the continuation, so that the words of the continuation are cut as in running text.

    Args:
        tokenizer: of the model.
        pairs: (text, continuation); either may be empty.
        context: inputs at most; texts lose tokens at their start to fit.

    Raises:
        InputError: a continuation alone has more tokens than `context`.
    """
    moved = [_with_its_space(text, continuation) for text, continuation in pairs]
    wholes = tokenizer.encode_batch([text + continuation for text, continuation in moved])
    texts = tokenizer.encode_batch([text for text, _ in moved])
    return [_cut(tokenizer, whole, text, context) for whole, text in zip(wholes, texts, strict=True)]


def _with_its_space(text: str, continuation: str) -> tuple[str, str]:
    kept = text.rstrip()
    return kept, text[len(kept) :] + continuation


def _cut(tokenizer: Tokenizer, whole: list[int], text: list[int], context: int) -> Continuation:
    counts, size = _byte_counts(tokenizer, whole), _byte_counts(tokenizer, text).sum()
    ends = counts.cumsum()
    border = int(((ends <= size) & (ends - counts < size)).sum())
    targets = whole[border:]
    if len(targets) > context:
        raise InputError(f"a continuation of {len(targets)} tokens exceeds the context of {context}")
    inputs = [tokenizer.eot_id, *whole[:border], *targets[:-1]]
    return Continuation(tuple(inputs[-context:]), tuple(targets))


def _byte_counts(tokenizer: Tokenizer, ids: list[int]) -> np.ndarray:
    return tokenizer.byte_counts(ids, [tokenizer.eot_id, *ids][: len(ids)])


def score_continuations(
    model: LanguageModel, continuations: Sequence[Continuation], batch_size: int = 8
) -> list[Likelihood]:
    """The likelihood of each continuation, in order; a bar on stderr where that is a terminal.

    Those with equal inputs, such as answers of one token, share one row of a forward pass. Rows are batched
    by length and padded on the right.

    Args:
        model: any architecture, in eval mode.
        continuations: inputs within the model's limit.
        batch_size: rows at once.
    """
    rows: dict[tuple[int, ...], set[Continuation]] = defaultdict(set)
    for continuation in continuations:
        rows[continuation.inputs].add(continuation)
    order = sorted(rows, key=len, reverse=True)
    found: dict[Continuation, Likelihood] = {}
    with tqdm(total=len(order), desc="scoring", unit="row", disable=None) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            longest = [max(len(continuation.targets) for continuation in rows[inputs]) for inputs in batch]
            for inputs, logits in zip(batch, _last_logits(model, batch, longest), strict=True):
                for continuation in rows[inputs]:
                    targets = continuation.targets
                    found[continuation] = _likelihood(logits[len(logits) - len(targets) :], targets)
            bar.update(len(batch))
    return [found[continuation] for continuation in continuations]


@torch.inference_mode()
def _last_logits(model: LanguageModel, batch: list[tuple[int, ...]], counts: list[int]) -> list[Tensor]:
    """(count, V) after the last `count` tokens of every row, all padded on the right to the longest."""
    device = next(model.parameters()).device
    tokens = pad_sequence([torch.tensor(inputs) for inputs in batch], batch_first=True).to(device)
    ends = zip(model.encode(tokens), map(len, batch), counts, strict=True)
    return [model.predict(states[length - count : length]) for states, length, count in ends]


def _likelihood(logits: Tensor, targets: tuple[int, ...]) -> Likelihood:
    """Of targets (n,), given the logits (n, V) before each."""
    wanted = torch.tensor(targets, dtype=torch.int64, device=logits.device)
    chosen = logits.float().log_softmax(-1).gather(1, wanted[:, None])
    return Likelihood(chosen.double().sum().item(), bool((logits.argmax(-1) == wanted).all()))
