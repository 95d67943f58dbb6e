"""Linear projection and cross-entropy in one, without the (N, V) logits in memory."""

from tmt.ops.cross_entropy.chunked import linear_cross_entropy, token_nll
from tmt.ops.cross_entropy.fused import available
from tmt.ops.cross_entropy.softcap import softcapped

__all__ = ["available", "linear_cross_entropy", "softcapped", "token_nll"]
