"""Causal attention whose query heads share keys and values, and rotate a part of their channels."""

import torch
from torch import Tensor, nn

from tmt.layers.attention import dense_attention_flops, dense_causal_attention
from tmt.layers.cache import Cache
from tmt.layers.linear import Linear
from tmt.layers.norm import PlainRMSNorm
from tmt.layers.rotary import Rotation, rotate, rotation
from tmt.layers.self_exclusion import without_own_value


class GroupedAttention(nn.Module):
    """H query heads over G heads of keys and values, all of width E = D / H.

    Queries and keys are RMS-normalised, rotated to their position in the first channels, and the queries
    multiplied by a learned gain a head (QK-norm: Henry et al., 2020).
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        eps: float,
        *,
        rope_dims: int,
        rope_base: float,
        gain: float,
        exclusive: bool,
    ):
        """Rotates `rope_dims` channels; `gain` is the start of the queries', `exclusive` leaves out a
        token's own value."""
        super().__init__()
        self.n_heads, self.n_kv_heads, self.width = n_heads, n_kv_heads, d_model // n_heads
        self.rope_dims, self.rope_base, self.exclusive = rope_dims, rope_base, exclusive
        shared = n_kv_heads * self.width
        self.query = Linear(d_model, d_model, bias=False)
        self.key = Linear(d_model, shared, bias=False)
        self.value = Linear(d_model, shared, bias=False)
        self.output = Linear(d_model, d_model, bias=False)
        self.gain = nn.Parameter(torch.full((n_heads,), gain))
        self.norm = PlainRMSNorm(eps)

    def rotation(self, positions: Tensor) -> Rotation:
        """Of heads at `positions` (n,), clockwise."""
        exact = torch.promote_types(self.query.weight.dtype, torch.float32)
        return rotation(-positions, self.rope_dims, self.rope_base, exact)

    def forward(self, x: Tensor, rotation: Rotation, cache: Cache) -> Tensor:
        """(B·T, D) to (B·T, D), over the tokens so far."""
        grid = cache.positions.shape
        q = self.queries(x, rotation).unflatten(0, grid)
        v = self._split(self.value(x), self.n_kv_heads)
        keys, values = cache.append(self.keys(x, rotation)), cache.append(v)
        heads = dense_causal_attention(q, keys, values, cache.positions).flatten(0, 1)
        if self.exclusive:
            heads = without_own_value(heads, v)
        return self.output(heads.flatten(1))

    def queries(self, x: Tensor, rotation: Rotation) -> Tensor:
        """(n, D) to (n, H, E)."""
        q = self.norm(self._split(self.query(x), self.n_heads))
        return self.gain.to(x.dtype)[:, None] * rotate(q, rotation)

    def keys(self, x: Tensor, rotation: Rotation) -> Tensor:
        """(n, D) to (n, G, E)."""
        return rotate(self.norm(self._split(self.key(x), self.n_kv_heads)), rotation)

    def flops(self, positions: Tensor) -> int:
        """Operations for tokens at `positions` (B, T), each over itself and its past."""
        projections = (self.query, self.key, self.value, self.output)
        weights = sum(projection.weight.numel() for projection in projections)
        scores = dense_attention_flops(positions, self.output.out_features)
        return 2 * positions.numel() * weights + scores

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, self.width))
