"""Products of a few rows with a weight matrix at the speed of memory on the CPU: what decoding waits for."""

from tmt.ops.linear.fused import available, few_rows

__all__ = ["available", "few_rows"]
