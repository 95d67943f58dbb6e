"""Projections into and out of attention heads, with QK-norm and rotary positions; dense causal attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt import machine
from tmt.layers.linear import Linear
from tmt.layers.norm import RMSNorm
from tmt.layers.rotary import Rotation, rotation
from tmt.ops.causal_attention import causal_attention


class HeadProjections(nn.Module):
    """Queries, keys and values of H heads of width E = D / H, and the way back to D.

    Queries and keys are RMS-normalised with a learned gain (QK-norm) and rotated to their position.
    All inputs are flat: (n, D) rows.
    """

    def __init__(self, d_model: int, n_heads: int, eps: float, rope_base: float = 10000.0):
        super().__init__()
        self.n_heads, self.width, self.rope_base = n_heads, d_model // n_heads, rope_base
        self.query = Linear(d_model, d_model, bias=False)
        self.key = Linear(d_model, d_model, bias=False)
        self.value = Linear(d_model, d_model, bias=False)
        self.output = Linear(d_model, d_model, bias=False)
        self.query_norm = RMSNorm(self.width, eps)
        self.key_norm = RMSNorm(self.width, eps)

    def rotation(self, positions: Tensor) -> Rotation:
        """Of heads at `positions` (n,)."""
        exact = torch.promote_types(self.query.weight.dtype, torch.float32)
        return rotation(positions, self.width, self.rope_base, exact)

    def queries(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """(n, D) to (n, H, E)."""
        return self.query_norm(self.query_heads(x), rotation)

    def query_heads(self, x: Tensor) -> Tensor:
        """(n, D) to (n, H, E), before the norm."""
        return self._split(self.query(x))

    def keys(self, x: Tensor, rotation: Rotation | None) -> Tensor:
        """(n, D) to (n, H, E)."""
        return self.key_norm(self._split(self.key(x)), rotation)

    def values(self, x: Tensor) -> Tensor:
        """(n, D) to (n, H, E)."""
        return self._split(self.value(x))

    def merge(self, heads: Tensor) -> Tensor:
        """(n, H, E) to (n, D)."""
        return self.output(heads.flatten(1))

    def flops(self, queries: int, keys: int) -> int:
        """Operations for that many query rows (with the way back) and key-value rows."""
        return 4 * (queries + keys) * self.query.weight.numel()

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, self.width))


def dense_causal_attention(q: Tensor, k: Tensor, v: Tensor, positions: Tensor) -> Tensor:
    """Softmax attention of queries (B, T, H, E) at `positions` (B, T) over the keys up to them.

    Keys and values are (B, S, G, E); each of their G heads serves the next H / G heads of queries
    (grouped queries: Ainslie et al., 2023).
    """
    whole, group = q.shape[1] == k.shape[1], q.shape[2] // k.shape[2]
    if whole and q.device.type == "cpu" and q.dtype == torch.bfloat16 and machine.multiplies_bf16(q.device):
        k, v = (x if group == 1 else x.repeat_interleave(group, 2) for x in (k, v))
        return causal_attention(q, k, v)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if whole:
        output = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=group > 1)
    else:
        seen = torch.arange(k.shape[2], device=k.device) <= positions[:, None, :, None]
        output = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=group > 1)
    return output.transpose(1, 2)


def dense_attention_flops(positions: Tensor, d_model: int) -> int:
    """Score and value products for queries at `positions` (B, T), each over itself and its past."""
    return 4 * d_model * int((positions + 1).sum())
