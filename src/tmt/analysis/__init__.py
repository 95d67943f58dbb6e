"""Toeplitz mixers as operators: their index, proven, and how hard they are to invert."""

from tmt.analysis.conditioning import log10_condition, singular_values, small_singular_values
from tmt.analysis.operator import KernelRecord, model_kernels, operator_records
from tmt.analysis.permutation import permutation_test
from tmt.analysis.roots import RootCount, count_roots
from tmt.analysis.winding import SymbolIndex, symbol_index

__all__ = [
    "KernelRecord",
    "RootCount",
    "SymbolIndex",
    "count_roots",
    "log10_condition",
    "model_kernels",
    "operator_records",
    "permutation_test",
    "singular_values",
    "small_singular_values",
    "symbol_index",
]
