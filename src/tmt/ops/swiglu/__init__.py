"""SiLU of one row times another row, in one pass over memory on the CPU."""

from tmt.ops.swiglu.fused import available, gradients, value

__all__ = ["available", "gradients", "value"]
