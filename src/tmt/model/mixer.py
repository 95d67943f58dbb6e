"""What the attention-free architectures share: blocks of an MLP and a token mixing, in either order."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.counting import flops_of
from tmt.layers.feed_forward import MLP
from tmt.layers.linear import Linear
from tmt.layers.norm import LayerNorm, RMSNorm
from tmt.layers.toeplitz_choices import Init
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.model.base import Hidden, LanguageModel, ModelOutput
from tmt.model.mixer_config import MixerConfig

Norm = LayerNorm | RMSNorm


class TokenMixer(nn.Module):
    """Mixes the tokens of a sequence causally: (B·T, D) rows to rows."""

    @abstractmethod
    def forward(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        """(B·T, D) to (B·T, D), or to (B, D) of each row's last valid token if `last`."""

    @abstractmethod
    def flops(self, length: int) -> float:
        """Operations for one whole sequence of `length` tokens."""

    @abstractmethod
    def row_flops(self, rows: int, mixed: int) -> float:
        """Operations for `rows` tokens in and `mixed` out that do not depend on what came before."""

    @abstractmethod
    def initialise(self, init: Init) -> None:
        """Draw what is no linear layer."""

    def kernels(self) -> dict[str, Tensor]:
        """Toeplitz kernels (H, K, n) by name; empty without any."""
        return {}

    def ops(self) -> dict[str, str]:
        """See :meth:`LanguageModel.ops`."""
        return {}


class HeadedMixing(TokenMixer):
    """What mixes H heads of channels: a projection before and one behind; neither without heads."""

    def __init__(self, d_model: int, n_heads: int, output_bias: bool = True):
        super().__init__()
        self.heads = max(1, n_heads)
        self.input = Linear(d_model, d_model) if n_heads else nn.Identity()
        self.output = Linear(d_model, d_model, bias=output_bias) if n_heads else nn.Identity()

    def row_flops(self, rows: int, mixed: int) -> int:
        """See :class:`TokenMixer`."""
        projections = ((self.input, rows), (self.output, mixed))
        return sum(2 * n * m.weight.numel() for m, n in projections if isinstance(m, nn.Linear))


class MixerBlock(nn.Module):
    """Pre-norm MLP and pre-norm token mixing, each added to its input."""

    def __init__(self, config: MixerConfig, mixer: TokenMixer):
        super().__init__()
        self.mlp_first = config.layout == "mlp_first"
        self.channel_norm = make_norm(config)
        self.mlp = MLP(config.d_model, config.ffn_dim, config.activation, config.dropout)
        self.token_norm = make_norm(config)
        self.mixer = mixer

    def forward(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        """(B·T, D) to (B·T, D), or to (B, D) of each row's last valid token if `last`."""
        if self.mlp_first:
            x = x + self.mlp(self.channel_norm(x))
        mixed = self.mixer(self.token_norm(x), cache, last)
        if last:
            rows = torch.arange(len(cache.new), device=x.device)
            x = x.view(*cache.positions.shape, -1)[rows, cache.new - 1]
        x = x + mixed
        return x if self.mlp_first else x + self.mlp(self.channel_norm(x))

    def row_flops(self, rows: int, mixed: int) -> float:
        """Operations for `rows` tokens in and `mixed` out, the mixing over time aside."""
        return flops_of(self.mlp, rows if self.mlp_first else mixed) + self.mixer.row_flops(rows, mixed)


class MixerModel(LanguageModel):
    """A stack of :class:`MixerBlock`; subclasses say what mixes the tokens."""

    def __init__(self, config: MixerConfig):
        super().__init__(config, make_norm(config) if config.final_norm else nn.Identity())
        blocks = (MixerBlock(config, self.make_mixer()) for _ in range(config.n_layers))
        self.blocks = cast("Sequence[MixerBlock]", nn.ModuleList(blocks))
        self.initialise()

    @abstractmethod
    def make_mixer(self) -> TokenMixer:
        """The token mixing of one block."""

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """See :class:`LanguageModel`."""
        x, output = self.embed(tokens), ModelOutput()
        for block in self.blocks:
            last = last_only and block is self.blocks[-1]
            rows = len(x)
            x = block(x, cache, last)
            output.work.append(partial(block.row_flops, rows, len(x)))
            output.layer_tokens.append(rows)
        return Hidden(x, output, last=last_only)

    @property
    def decodes_statically(self) -> bool:
        """See :class:`LanguageModel`: unless a step's work depends on its place, as relaxed convolution's."""
        convolutions = (module for module in self.modules() if isinstance(module, ToeplitzConvolution))
        return all(convolution.decode != "relaxed" for convolution in convolutions)

    def flops(self, length: int) -> float:
        """See :class:`LanguageModel`."""
        blocks = (block.row_flops(length, length) + block.mixer.flops(length) for block in self.blocks)
        return sum(blocks) + self.head_flops(length)

    def ops(self) -> dict[str, str]:
        """See :class:`LanguageModel`."""
        return {**super().ops(), **self.blocks[0].mixer.ops()}

    def kernels(self) -> dict[str, Tensor]:
        """See :class:`LanguageModel`."""
        found = ((layer, block.mixer.kernels()) for layer, block in enumerate(self.blocks))
        return {
            f"{layer}.{name}" if name else str(layer): taps.detach().double().cpu()
            for layer, kernels in found
            for name, taps in kernels.items()
        }

    def initialise(self) -> None:
        """Draw all weights: normal with a deviation of 0.02, or He's; biases zero, mixing as `init` says."""
        kaiming = self.config.init == "kaiming"
        for module in self.modules():
            if isinstance(module, nn.Linear) and not (module is self.head and self.config.tie_embeddings):
                std = (2 / module.in_features) ** 0.5 if kaiming else 0.02
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.embedding.weight, std=1.0 if kaiming else self.config.embedding_std)
        for block in self.blocks:
            block.mixer.initialise(self.config.init)


def make_norm(config: MixerConfig) -> Norm:
    """The configured normalisation."""
    return (LayerNorm if config.norm == "layer" else RMSNorm)(config.d_model, config.layer_norm_eps)
