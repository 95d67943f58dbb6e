"""What ends a training: a number of steps, tokens or counted operations, or minutes on a clock."""

from dataclasses import dataclass

from tmt.errors import InputError
from tmt.model.checks import require

BUDGETS = ("steps", "minutes", "tokens", "flops", "core_minutes")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One of these is given. InputError where none is, or more."""

    steps: int | None = None
    """Optimiser steps."""
    minutes: float | None = None
    """Minutes of training; priming, evaluation and saving do not count."""
    tokens: int | None = None
    """Tokens to train on, all ranks together; the step that reaches them is the last."""
    flops: float | None = None
    """Operations of the steps, forward and backward (three times the forward pass), counted as they ran;
    the step that reaches them is the last. Those of the optimiser do not count."""
    core_minutes: float | None = None
    """Minutes of processor time of the training process, all its threads together: a clock that stands still
    while other work has the processor. What does not count of minutes does not count here."""

    def __post_init__(self):
        """Validate every field."""
        given = [f"{name}={getattr(self, name)}" for name in BUDGETS if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(f"give one of {', '.join(BUDGETS)}, not {' and '.join(given) or 'none'}")
        require(self.amount > 0, self, self.budget, "must be above zero")

    @property
    def budget(self) -> str:
        """Which of them is given."""
        return next(name for name in BUDGETS if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """How much of it."""
        return getattr(self, self.budget)

    @property
    def on_a_clock(self) -> bool:
        """Whether it is time."""
        return self.budget in ("minutes", "core_minutes")
