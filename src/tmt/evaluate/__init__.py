"""Measuring a model: loss in comparable units, compute, depth by kind of token, and a probe for leaks."""

from tmt.evaluate.causality import LeakError, check_causality
from tmt.evaluate.depth import ClassDepth, count_tokens, depth_by_class, token_classes
from tmt.evaluate.inspection import inspect_text
from tmt.evaluate.measures import Score
from tmt.evaluate.perplexity import score
from tmt.evaluate.report import evaluate_run

__all__ = [
    "ClassDepth",
    "LeakError",
    "Score",
    "check_causality",
    "count_tokens",
    "depth_by_class",
    "evaluate_run",
    "inspect_text",
    "score",
    "token_classes",
]
