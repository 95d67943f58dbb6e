"""What came of it: one finding a rule and number format."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["holds", "broken", "not claimed"]


@dataclass(frozen=True)
class Finding:
    """How a model stands to one rule, in one number format."""

    rule: str
    promise: str
    """What the rule says."""
    dtype: str
    verdict: Verdict
    compared: str = ""
    """What was looked at, how much of it."""
    figure: float | None = None
    """The worst of it."""
    noise: float | None = None
    """What errors of rounding that cannot be avoided amount to; None where the rule allows none."""
    limit: float | None = None
    """The worst that is allowed."""
    where: str = ""
    """Where the rule is broken, or why nothing was looked at."""

    def __str__(self) -> str:
        return f"{self.rule} ({self.dtype}): {self.where or self.verdict}"


class BrokenRuleError(AssertionError):
    """A model breaks a rule."""


@dataclass(frozen=True)
class Report:
    """All findings of one model."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The findings of rules that do not hold."""
        return tuple(finding for finding in self.findings if finding.verdict == "broken")

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return not self.broken

    def require(self) -> None:
        """Raise BrokenRuleError with every broken rule, where there is one."""
        if self.broken:
            raise BrokenRuleError(f"{self.target}: " + "; ".join(map(str, self.broken)))

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.target,
            "passed": self.passed,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)
