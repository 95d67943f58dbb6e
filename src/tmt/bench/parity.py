"""The gate before the clock: what is timed must first equal its readable reference."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tmt.errors import InputError

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Largest relative error of an op, by the type it computes in."""
DECODING_TOLERANCE = 1e-3
"""Largest relative error of a model's cached logits, in float32."""


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """‖actual − expected‖ / ‖expected‖ in float64."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).norm() / expected.norm().clamp(min=torch.finfo(torch.float64).tiny))


def require_parity(
    what: str, actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float
) -> None:
    """Refuse to time `what` unless every named tensor is within the relative `tolerance` of the expected.

    Raises:
        InputError: naming `what`, the tensor that is worst and its error.
    """
    require_small(what, relative_errors(actual, expected), tolerance)


def relative_errors(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, float]:
    """That of every named tensor."""
    return {name: relative_error(actual[name], expected[name]) for name in expected}


def require_small(what: str, errors: Mapping[str, float], tolerance: float) -> None:
    """As :func:`require_parity`, of errors that are known."""
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}
    if wrong:
        name = max(wrong, key=lambda name: wrong[name])
        raise InputError(
            f"{what} is not timed: its {name} differs from the reference by {wrong[name]:.1e} "
            f"(relative; allowed {tolerance:.0e})"
        )
