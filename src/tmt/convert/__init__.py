"""From a long kernel to a small recurrent state: fits, their error bounds, and the exact conversion."""

from tmt.convert.bounds import (
    gain,
    largest_output_error,
    normalised_input_limit,
    output_error_norm,
    worst_input,
)
from tmt.convert.compare import Comparison, compare
from tmt.convert.etsc import exact_state
from tmt.convert.hankel import ExponentialFit, fit_exponentials
from tmt.convert.model import KernelFit, require_fit, to_state
from tmt.convert.published import from_published, to_published
from tmt.convert.rank import rank_needed
from tmt.convert.state import DiagonalKernel

__all__ = [
    "Comparison",
    "DiagonalKernel",
    "ExponentialFit",
    "KernelFit",
    "compare",
    "exact_state",
    "fit_exponentials",
    "from_published",
    "gain",
    "largest_output_error",
    "normalised_input_limit",
    "output_error_norm",
    "rank_needed",
    "require_fit",
    "to_published",
    "to_state",
    "worst_input",
]
