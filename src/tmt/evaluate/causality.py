"""The leak probe: does a logit change when only later tokens change?"""

import torch

from tmt.errors import BrokenPromiseError
from tmt.model.base import LanguageModel
from tmt.verify import check, subject_of

RULES = ("future", "prefix")
LONGEST, EXACT = 128, 64
"""Tokens that are read at once, and in float64; `tmt verify` takes as many as a model's windows need."""


class LeakError(BrokenPromiseError):
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
    subject, size = subject_of(model), 0.0
    for dtype, length in {subject.dtype: LONGEST, torch.float64: EXACT}.items():
        length = min(length, model.config.longest)
        report = check(subject, only=RULES, length=length, dtypes=[dtype], seed=seed)
        if report.broken:
            raise LeakError("the model sees the future: " + "; ".join(map(str, report.broken)))
        size = max(found.figure or 0.0 for found in report)
    return size
