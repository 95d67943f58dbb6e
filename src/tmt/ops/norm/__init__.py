"""RMS normalisation with the rotation of its rows, in one pass over memory on the CPU."""

from tmt.ops.norm.fused import available, rms_norm

__all__ = ["available", "rms_norm"]
