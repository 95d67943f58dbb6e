"""Linear products on the CPU: of a few rows at the speed of memory, and of rows that are not kept."""

from tmt.ops.linear.fused import available, few_rows
from tmt.ops.linear.of_op import Op, of_op

__all__ = ["Op", "available", "few_rows", "of_op"]
