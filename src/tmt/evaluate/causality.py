"""The leak probe: does a logit change when only later tokens change?"""

import torch

from tmt.model.base import LanguageModel
from tmt.verify import check, subject_of

RULES = ("future", "prefix")
LONGEST = 128
"""Tokens that are read at once; `tmt verify` takes as many as a model's windows need."""


class LeakError(RuntimeError):
    """A model's output depends on tokens that come later: none of its figures mean anything."""


def check_causality(model: LanguageModel, seed: int = 0) -> float:
    """Hold a model to the rules of `tmt verify` on later tokens: replaced after every cut, and left out.

    In the number format of its weights, whose code is what runs, and in float64, where a causal model
    answers with rounding errors (below 1e-9), whatever its weights.

    Args:
        model: any architecture, in either mode; it is not changed.
        seed: of the tokens.

    Returns:
        The largest change of a logit in float64.

    Raises:
        LeakError: one changes by more than rounding.
    """
    length = min(LONGEST, model.config.longest)
    report = check(subject_of(model), only=RULES, length=length, seed=seed)
    if report.broken:
        raise LeakError("the model sees the future: " + "; ".join(map(str, report.broken)))
    exact = str(torch.float64).removeprefix("torch.")
    return max(found.figure or 0.0 for found in report if found.dtype == exact)
