"""The helper for other people's suites: it passes, skips and fails as the rules do."""

import pytest
from zoo import Averager, TwoSidedMean

from tmt.verify import BrokenRuleError
from tmt.verify.testing import rule_tests

test_a_sound_model = rule_tests(lambda: Averager().eval(), length=12)


def test_a_case_fails_where_its_rule_is_broken():
    case = rule_tests(lambda: TwoSidedMean().eval(), length=12)
    with pytest.raises(BrokenRuleError):
        case("future")
    case("repeat")
