"""Transformer of the parameter-golf records: the most quality for the parameters.

Few matrices, used often: layers in the middle run several times, keys and values are shared, and vectors
and scalars steer what flows between the layers: gated skips, mixes with the embeddings, and two lanes.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.counting import flops_of
from tmt.layers.gated_skip import GatedSkip
from tmt.layers.grouped_attention import GroupedAttention
from tmt.layers.norm import PlainRMSNorm
from tmt.layers.residual_lanes import ResidualLanes
from tmt.layers.rotary import Rotation
from tmt.layers.squared_mlp import SquaredMLP
from tmt.model.base import Hidden, LanguageModel, ModelOutput
from tmt.model.golf_config import GolfConfig

SLOPES = {"leaky_relu2": 0.5, "relu2": 0.0}


class GolfBlock(nn.Module):
    """Pre-norm attention and MLP on flat rows (B·T, D), after or beside each other."""

    def __init__(self, config: GolfConfig, layer: int):
        super().__init__()
        d, eps = config.d_model, config.layer_norm_eps
        self.parallel = config.parallel == "simple" and layer >= config.first_parallel
        self.norm = PlainRMSNorm(eps, (layer + 1) ** -0.5 if config.ln_scale else 1.0)
        self.attention = GroupedAttention(
            d,
            config.n_heads,
            config.kv_heads,
            eps,
            rope_dims=config.rotated,
            rope_base=config.rope_base,
            gain=config.qk_gain,
            exclusive=config.xsa,
        )
        self.mlp = SquaredMLP(d, config.ffn_dim, SLOPES[config.activation])
        self.mix = nn.Parameter(torch.stack([torch.ones(d), torch.zeros(d)])) if config.residual_mix else None
        self.attention_scale = nn.Parameter(torch.ones(d))
        self.mlp_scale = nn.Parameter(torch.ones(d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, origin: Tensor, rotation: Rotation, cache: Cache) -> Tensor:
        """The stream x (B·T, D) advanced; `origin` is where it began."""
        x = self.mixed(x, origin)
        attended = x + self.attend(x, rotation, cache)
        return attended + self.transform(x if self.parallel else attended)

    def mixed(self, x: Tensor, origin: Tensor) -> Tensor:
        """What the block starts from."""
        if self.mix is None:
            return x
        stream, start = self.mix.to(x.dtype)
        return stream * x + start * origin

    def attend(self, x: Tensor, rotation: Rotation, cache: Cache) -> Tensor:
        """The update by the attention."""
        update = self.attention(self.norm(x), rotation, cache)
        return self.dropout(self.attention_scale.to(x.dtype) * update)

    def transform(self, x: Tensor) -> Tensor:
        """The update by the MLP."""
        return self.dropout(self.mlp_scale.to(x.dtype) * self.mlp(self.norm(x)))

    def flops(self, positions: Tensor) -> float:
        """Operations for tokens at `positions` (B, T), each over itself and its past."""
        return self.attention.flops(positions) + flops_of(self.mlp, positions.numel())


class Golf(LanguageModel):
    """Transformer with looped layers, gated skips and two residual lanes."""

    config: GolfConfig

    def __init__(self, config: GolfConfig):
        super().__init__(config, PlainRMSNorm(config.layer_norm_eps))
        d, layers = config.d_model, config.n_layers
        self.softcap = config.softcap or None
        self.loops_reached = config.loops_from == 0
        blocks = (GolfBlock(config, layer) for layer in range(layers))
        self.blocks = cast("Sequence[GolfBlock]", nn.ModuleList(blocks))
        skips = len(config.route(looped=True)[0]) if config.unet_skips else 0
        self.skips = nn.ModuleList(GatedSkip(d) for _ in range(skips))
        self.passes = nn.Parameter(torch.zeros(config.loop_passes, d)) if config.pass_embedding else None
        forks = config.parallel == "lanes" and config.first_parallel < layers
        self.lanes = ResidualLanes(layers, config.lane_retention) if forks else None
        self.initialise()

    @property
    def looping(self) -> bool:
        """Whether layers run more than once now: always but in the first part of a training."""
        return self.loops_reached or not self.training

    def set_progress(self, share: float) -> None:
        """See :class:`LanguageModel`."""
        self.loops_reached = share >= self.config.loops_from

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """See :class:`LanguageModel`."""
        x = origin = self.norm(self.embed(tokens))
        rotation = self.blocks[0].attention.rotation(cache.positions.flatten() + self.origin)
        encoder, decoder = self.config.route(self.looping)
        way = [*encoder, *decoder]
        saved: list[Tensor] = []
        lane: Tensor | None = None
        output = ModelOutput(layer_tokens=[tokens.numel()] * len(self.blocks))
        for step, layer in enumerate(way):
            block, decoding = self.blocks[layer], step - len(encoder)
            if self.lanes is not None and layer == self.config.first_parallel:
                lane = x
            if 0 <= decoding < len(self.skips) and saved:
                x = self.skips[decoding](x, saved.pop())
            if self.passes is not None and layer == self.config.first_looped:
                x = x + self.passes[way[:step].count(layer)].to(x.dtype)
            if self.lanes is None or lane is None:
                x = block(x, origin, rotation, cache)
            else:
                attended = block.attend(block.mixed(x, origin), rotation, cache)
                x, lane = self.lanes(layer, (x, lane), attended, block.transform(lane))
            if decoding < 0:
                saved.append(x)
            output.work.append(partial(block.flops, cache.positions))
        return Hidden(x if lane is None else (x + lane) / 2, output)

    def flops(self, length: int) -> float:
        """See :class:`LanguageModel`."""
        positions = torch.arange(length)[None]
        encoder, decoder = self.config.route(looped=True)
        blocks = sum(self.blocks[layer].flops(positions) for layer in [*encoder, *decoder])
        return blocks + self.head_flops(length)

    def ops(self) -> dict[str, str]:
        """See :class:`LanguageModel`."""
        return {**super().ops(), **self.blocks[0].mlp.ops(self.config.max_seq_len)}

    def initialise(self) -> None:
        """Orthogonal matrices, but zeros on the way back to the stream; small normal embeddings."""
        for block in self.blocks:
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.orthogonal_(module.weight)
            nn.init.zeros_(block.attention.output.weight)
            nn.init.zeros_(block.mlp.output.weight)
        for weight in (self.head.weight, self.embedding.weight):
            nn.init.normal_(weight, std=self.config.embedding_std)
