"""A test for every rule: what a suite imports to hold its own models to them."""

from collections.abc import Callable
from typing import Any

from tmt.verify.check import check
from tmt.verify.rules import RULES
from tmt.verify.target import subject_of


def rule_tests(make: Callable[[], Any], *, length: int | None = None) -> Callable[[str], None]:
    """A pytest function with one case a rule.

    ``test_my_model = rule_tests(MyModel)`` in a file of tests is all there is to do. A case is skipped where
    the model does not claim what its rule is about.

    Args:
        make: makes the model anew; a module, or anything that :func:`tmt.verify.subject_of` takes.
        length: tokens of the texts that it is tried on, as in :func:`tmt.verify.check`.
    """
    import pytest

    @pytest.mark.parametrize("rule", RULES)
    def test_rule(rule: str) -> None:
        report = check(subject_of(make()), only=[rule], length=length)
        report.require()
        if all(finding.verdict == "not claimed" for finding in report):
            pytest.skip(report.findings[0].where)

    return test_rule
