"""Masked mixer: a free lower triangular matrix over positions mixes the tokens; a baseline."""

from functools import partial

import torch
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.toeplitz_choices import Init
from tmt.layers.toeplitz_kernel import NOISE
from tmt.model.base import LanguageModel
from tmt.model.mixer import HeadedMixing, MixerModel, TokenMixer
from tmt.model.triangular_config import TriangularConfig


class TriangularMixing(HeadedMixing):
    """``y[t] = Σ_{s≤t} W[t, s] x[s] + b[t]``, one matrix per head."""

    def __init__(self, config: TriangularConfig):
        super().__init__(config.d_model, config.n_heads)
        n, self.width = config.kernel_length, config.d_model
        self.weight = nn.Parameter(torch.empty(self.heads, n, n))
        self.bias = nn.Parameter(torch.empty(self.heads, n))

    def forward(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        """See :class:`TokenMixer`."""
        x = self.input(x)
        if cache.padded:
            x = x.masked_fill(~cache.valid().flatten()[:, None], 0)
        seen = cache.append(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        positions = (cache.past + cache.new - 1)[:, None] if last else cache.positions
        length = seen.shape[2]
        if cache.fresh and not last:
            weight, bias = self.weight[None, :, :length, :length].tril(), self.bias[None, :, :length]
        else:
            weight, bias = self._rows(positions, length), self.bias[:, positions].transpose(0, 1)
        mixed = weight.to(seen.dtype) @ seen + bias[..., None].to(seen.dtype)
        cache.work.append(partial(self._flops, len(seen), positions.shape[1], length))
        return self.output(mixed.transpose(1, 2).flatten(2).flatten(0, 1))

    def flops(self, length: int) -> float:
        """See :class:`TokenMixer`."""
        return self._flops(1, length, length)

    def initialise(self, init: Init) -> None:
        """The identity and a little noise, or He's weights of a linear layer."""
        n = self.weight.shape[1]
        nn.init.normal_(self.weight, std=(NOISE if init == "identity" else 2**0.5) / n**0.5)
        nn.init.zeros_(self.bias)
        if init == "identity":
            with torch.no_grad():
                self.weight.add_(torch.eye(n))

    def _rows(self, positions: Tensor, length: int) -> Tensor:
        """(B, H, T, S) rows of the matrices at positions (B, T), zero behind the diagonal."""
        behind = torch.arange(length, device=positions.device) > positions[:, None, :, None]
        return self.weight[:, positions, :length].transpose(0, 1).masked_fill(behind, 0)

    def _flops(self, batch: int, queries: int, keys: int) -> int:
        """Operations of the product of dense blocks."""
        return 2 * batch * queries * keys * self.width


class TriangularMixer(MixerModel):
    """Stack of triangular mixings and MLPs."""

    config: TriangularConfig
    kernels = LanguageModel.kernels

    def make_mixer(self) -> TokenMixer:
        """See :class:`MixerModel`."""
        return TriangularMixing(self.config)
