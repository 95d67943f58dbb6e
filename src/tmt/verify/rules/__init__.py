"""The rules, each a function from a probe to numbers that should be zero."""

from tmt.verify.rules.future import BY_GRADIENT, BY_VALUE, DOCUMENTS, PREFIX, TRAINING
from tmt.verify.rules.place import SHIFT
from tmt.verify.rules.rows import PADDING, ROWS
from tmt.verify.rules.rule import Rule
from tmt.verify.rules.scores import BYTES, DISTRIBUTION, LOSS
from tmt.verify.rules.state import CACHED, RAGGED, REORDERED, STORED, TWICE
from tmt.verify.rules.steady import EXTREMES, FORMATS, REPEAT

__all__ = ["RULES", "Rule"]

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        BY_VALUE,
        BY_GRADIENT,
        PREFIX,
        TRAINING,
        DOCUMENTS,
        ROWS,
        PADDING,
        SHIFT,
        CACHED,
        RAGGED,
        REORDERED,
        STORED,
        TWICE,
        DISTRIBUTION,
        LOSS,
        BYTES,
        REPEAT,
        EXTREMES,
        FORMATS,
    )
}
"""By name, in the order in which they are reported."""
