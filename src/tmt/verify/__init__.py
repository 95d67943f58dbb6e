"""Rules that a causal language model must keep, and the proof of them for any model.

How the pieces stand to each other: `target` opens what a user names as a `Subject` (`native`, `huggingface`
and `plain` are its kinds); a `Probe` makes the tokens it is tried on and says what rounding alone does; each
of `rules` turns a probe into differences that should be zero; `check` compares them with their limits and
makes the `Report`.
"""

from tmt.verify.check import check, findings
from tmt.verify.report import BrokenRuleError, Finding, Report
from tmt.verify.rules import RULES
from tmt.verify.subject import NotOfferedError, Subject
from tmt.verify.target import open_target, subject_of

__all__ = [
    "RULES",
    "BrokenRuleError",
    "Finding",
    "NotOfferedError",
    "Report",
    "Subject",
    "check",
    "findings",
    "open_target",
    "subject_of",
]
