"""Gated long convolution, the Hyena operator of order 2 (Poli et al., 2023); a baseline."""

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.feed_forward import LocalMix
from tmt.layers.implicit_kernel import ImplicitKernel
from tmt.layers.linear import Linear
from tmt.layers.toeplitz_choices import Init
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.model.hyena_config import HyenaConfig
from tmt.model.mixer import MixerModel, TokenMixer


class HyenaMixing(TokenMixer):
    """``W_out (a ⊙ (w * (b ⊙ v)))``: a, b, v by projection and short filter, w a kernel a channel."""

    def __init__(self, config: HyenaConfig):
        super().__init__()
        d = config.d_model
        self.input = Linear(d, 3 * d)
        self.local = LocalMix(3 * d, config.short_filter)
        kernel = ImplicitKernel(d, config.kernel_length)
        self.convolution = ToeplitzConvolution(
            kernel, 1, bias="none", mean=False, endless=False, decode=config.decode
        )
        self.output = Linear(d, d)

    def forward(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        """See :class:`TokenMixer`."""
        projected = self.input(x)
        tail = cache.tail(projected, self.local.width - 1)
        mixed = self.local(projected.view(*cache.positions.shape, -1), tail)
        gate, inner, value = mixed.view(*cache.positions.shape, -1).chunk(3, -1)
        long = self.convolution((inner * value)[..., None], cache, last)[..., 0]
        if last:
            gate = gate[torch.arange(len(gate), device=gate.device), cache.new - 1][:, None]
        return self.output((gate * long).flatten(0, 1))

    def flops(self, length: int) -> float:
        """See :class:`TokenMixer`."""
        return self.convolution.flops(length)

    def row_flops(self, rows: int, mixed: int) -> int:
        """See :class:`TokenMixer`."""
        gates = 2 * rows * self.output.in_features
        products = 2 * rows * self.input.weight.numel() + 2 * mixed * self.output.weight.numel()
        return products + self.local.flops(rows) + gates

    def initialise(self, init: Init) -> None:
        """See :class:`TokenMixer`."""
        self.convolution.initialise(init)

    def kernels(self) -> dict[str, Tensor]:
        """See :class:`TokenMixer`."""
        return {"": self.convolution.taps(self.convolution.kernel.length)}

    def ops(self) -> dict[str, str]:
        """See :class:`TokenMixer`."""
        return self.convolution.ops()


class Hyena(MixerModel):
    """Stack of gated long convolutions and MLPs."""

    config: HyenaConfig

    def make_mixer(self) -> TokenMixer:
        """See :class:`MixerModel`."""
        return HyenaMixing(self.config)
