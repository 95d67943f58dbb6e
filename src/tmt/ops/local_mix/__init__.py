"""Per-channel mix of a token with the few before it, in one pass over memory on the CPU."""

from tmt.ops.local_mix.fused import available, local_mix

__all__ = ["available", "local_mix"]
