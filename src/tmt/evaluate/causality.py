"""The leak probe: does a logit change when only later tokens change?"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.model.base import LanguageModel

LONGEST = 256
CUTS = 5
TOLERANCE = 1e-6


class LeakError(RuntimeError):
    """A model's output depends on tokens that come later: none of its figures mean anything."""


@dataclass(frozen=True)
class Leak:
    """The largest change of a logit when everything after token `cut` changes."""

    size: float
    position: int
    """Whose logits changed, at most `cut`."""
    cut: int


def causal_max_diff(model: LanguageModel, tokens: Tensor, seed: int = 0) -> float:
    """Largest |difference| of any logit after its future was replaced, or left out.

    A float64 copy of the model in eval mode runs the sequence, then for each of several cuts the same
    sequence with random tokens after the cut, and the bare prefix up to it. A causal model answers with
    rounding errors (below 1e-9), whatever its weights.

    Args:
        model: any architecture; it is not changed.
        tokens: (T,) int64, at least 2; only the first 256 are used.
        seed: of the random tokens.

    Raises:
        InputError: `tokens` has fewer than two entries or another shape.
    """
    return worst_leak(model, tokens, seed).size


def check_causality(
    model: LanguageModel, tokens: Tensor, seed: int = 0, tolerance: float = TOLERANCE
) -> float:
    """:func:`causal_max_diff`, or LeakError where it exceeds `tolerance`."""
    leak = worst_leak(model, tokens, seed)
    if leak.size > tolerance:
        raise LeakError(
            f"the model sees the future: logits at position {leak.position} change by {leak.size:.3g} "
            f"when only tokens after position {leak.cut} change"
        )
    return leak.size


def worst_leak(model: LanguageModel, tokens: Tensor, seed: int = 0) -> Leak:
    """Where the probe of :func:`causal_max_diff` finds the largest change."""
    if tokens.ndim != 1 or len(tokens) < 2:
        raise InputError(f"the leak probe needs at least 2 tokens in a row, got shape {tuple(tokens.shape)}")
    exact = copy.deepcopy(model).double().eval()
    tokens = tokens[: min(LONGEST, model.config.longest)].to(next(exact.parameters()).device)
    return max(_leaks(exact, tokens, seed), key=lambda leak: leak.size)


@torch.inference_mode()
def _logits(model: LanguageModel, tokens: Tensor) -> Tensor:
    """(T, V) float64."""
    return model(tokens[None], return_diagnostics=False).logits[0]


def _leaks(model: LanguageModel, tokens: Tensor, seed: int) -> Iterator[Leak]:
    generator = torch.Generator().manual_seed(seed)
    expected = _logits(model, tokens)
    for cut in torch.linspace(0, len(tokens) - 2, CUTS).long().unique().tolist():
        future = torch.randint(model.config.vocab_size, (len(tokens) - cut - 1,), generator=generator)
        for changed in (torch.cat([tokens[: cut + 1], future.to(tokens)]), tokens[: cut + 1]):
            change = distance(_logits(model, changed)[: cut + 1], expected[: cut + 1]).amax(-1)
            position = int(change.argmax())
            yield Leak(float(change[position]), position, cut)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """|a − b|; two NaNs or equal infinities are the same, a NaN against a number is infinitely far."""
    same = (a == b) | (a.isnan() & b.isnan())
    return (a - b).abs().masked_fill(same, 0).nan_to_num(nan=torch.inf, posinf=torch.inf)
