"""One token of one row through a whole layer in a native call: what decoding a single text waits for."""

from tmt.ops.step.fused import WEIGHTS, Layer, after_attention, available, before_attention, mesh_layer

__all__ = ["WEIGHTS", "Layer", "after_attention", "available", "before_attention", "mesh_layer"]
