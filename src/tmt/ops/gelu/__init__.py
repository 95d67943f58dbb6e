"""GELU scaled by a gate per row, in one pass over memory on the CPU."""

from tmt.ops.gelu.fused import available, gradients, value

__all__ = ["available", "gradients", "value"]
