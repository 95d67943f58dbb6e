"""The baseline every claim is made against: a dense transformer with RoPE, QK-norm, RMSNorm and SwiGLU."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.attention import HeadProjections, dense_attention_flops, dense_causal_attention
from tmt.layers.cache import Cache
from tmt.layers.counting import flops_of
from tmt.layers.feed_forward import SwiGLU
from tmt.layers.norm import RMSNorm
from tmt.layers.rotary import Rotation
from tmt.layers.row_step import Plan, RowStep, gated_unit_weights, head_weights, plan_of
from tmt.model.base import Hidden, LanguageModel, ModelOutput
from tmt.model.transformer_config import TransformerConfig


class Block(nn.Module):
    """Pre-norm attention, then pre-norm SwiGLU, on flat rows (B·T, D)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        d, eps = config.d_model, config.layer_norm_eps
        self.attention_norm = RMSNorm(d, eps)
        self.attention = HeadProjections(d, config.n_heads, eps)
        self.ffn_norm = RMSNorm(d, eps)
        self.ffn = SwiGLU(d, config.ffn_dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: Rotation, cache: Cache) -> Tensor:
        """(B·T, D) to (B·T, D)."""
        normed = self.attention_norm(x)
        q = self.attention.queries(normed, rotation).unflatten(0, cache.positions.shape)
        k = cache.append(self.attention.keys(normed, rotation))
        v = cache.append(self.attention.values(normed))
        attended = dense_causal_attention(q, k, v, cache.positions)
        x = x + self.dropout(self.attention.merge(attended.flatten(0, 1)))
        return x + self.dropout(self.ffn(self.ffn_norm(x)))

    def step(self, plan: Plan, x: Tensor, rotation: Rotation, cache: Cache) -> Tensor:
        """`forward` for the next token x (1, D) of a single row; x is changed in place."""
        row = RowStep(plan, x, rotation, cache)
        q, k, v = (heads.transpose(1, 2) for heads in row.heads())
        row.attend()
        return row.finish(F.scaled_dot_product_attention(q, k, v))

    def plan(self) -> Plan | None:
        """What :meth:`step` needs, None where a part was replaced by something else."""
        if not (isinstance(self.attention, HeadProjections) and isinstance(self.ffn, SwiGLU)):
            return None
        weights = head_weights("attention_norm", "attention") | gated_unit_weights("ffn_norm", "ffn")
        return Plan(self, self.attention, weights, hidden=self.ffn.inner.out_features)

    def flops(self, positions: Tensor) -> float:
        """Operations for tokens at `positions` (B, T), each over itself and its past."""
        rows = positions.numel()
        scores = dense_attention_flops(positions, self.attention.query.in_features)
        return self.attention.flops(rows, rows) + scores + flops_of(self.ffn, rows)


class Transformer(LanguageModel):
    """Dense causal transformer; the reference for quality, speed and compute."""

    config: TransformerConfig

    def __init__(self, config: TransformerConfig):
        super().__init__(config)
        self.blocks = cast("Sequence[Block]", nn.ModuleList(Block(config) for _ in range(config.n_layers)))
        self.initialise()

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """See :class:`LanguageModel`."""
        x = self.embed(tokens)
        output = ModelOutput()
        rotation = self.blocks[0].attention.rotation(cache.positions.flatten() + self.origin)
        for block in self.blocks:
            plan = plan_of(block, x, cache, block.plan)
            x = block.step(plan, x, rotation, cache) if plan else block(x, rotation, cache)
            output.work.append(partial(block.flops, cache.positions))
            output.layer_tokens.append(tokens.numel())
        return Hidden(x, output)

    def flops(self, length: int) -> float:
        """See :class:`LanguageModel`."""
        positions = torch.arange(length)[None]
        return sum(b.flops(positions) for b in self.blocks) + self.head_flops(length)
