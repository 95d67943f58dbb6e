"""SiLU of one row times another row, in one pass over memory on the CPU."""

from tmt.ops.swiglu.fused import available, swiglu

__all__ = ["available", "swiglu"]
