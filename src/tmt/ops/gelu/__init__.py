"""GELU scaled by a gate per row, in one pass over memory on the CPU."""

from tmt.ops.gelu.fused import available, gated_gelu

__all__ = ["available", "gated_gelu"]
