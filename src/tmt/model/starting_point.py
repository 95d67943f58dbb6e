"""A language model of your own: a token reads a gated mean of the last few. Change `Block`, keep the rest.

Train it: `tmt train --arch THIS_FILE --set model.window=16`. Does it look ahead: `tmt verify THIS_FILE`.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.norm import RMSNorm
from tmt.model.base import Hidden, LanguageModel
from tmt.model.common_config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class MeanConfig(ModelConfig):
    """Sizes of a :class:`MovingMean`, beside vocab_size, max_seq_len, dropout and others of every model."""

    d_model: int = 128
    n_layers: int = 4
    window: int = 8
    """Tokens that a mean is taken of."""


class Block(nn.Module):
    """Sequences (B, T, D) to (B, T, D); no token may read a later one."""

    def __init__(self, config: MeanConfig):
        super().__init__()
        self.window, d = config.window, config.d_model
        self.norm = RMSNorm(d, config.layer_norm_eps)
        self.mix, self.output = nn.Linear(d, 2 * d), nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated mean to the sequences."""
        gate, value = self.mix(self.norm(x)).chunk(2, -1)
        past = F.pad(value, (0, 0, self.window - 1, 0)).unfold(1, self.window, 1)  # (B, T, D, window)
        return x + self.output(F.silu(gate) * past.mean(-1))


class MovingMean(LanguageModel):
    """A stack of blocks; embedding, head and last norm come from above."""

    config: MeanConfig  # says whose fields are the options of the model

    def __init__(self, config: MeanConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))  # Muon trains `blocks`
        self.initialise()

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """Tokens (B, T) to what the last norm and the head read (B * T, D)."""
        x = self.embed(tokens).unflatten(0, tokens.shape)
        for block in self.blocks:
            x = block(x)
        return Hidden(x.flatten(0, 1))
