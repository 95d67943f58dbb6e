"""Toeplitz MLP Mixer: causal convolutions over the whole sequence mix the tokens (Badger & Roland, 2026)."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.toeplitz_choices import Bias, Init
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.layers.toeplitz_kernel import (
    DecayKernel,
    DeltaKernel,
    ExpSumKernel,
    Kernel,
    OnesKernel,
    RawKernel,
    SoftplusKernel,
)
from tmt.model.mixer import HeadedMixing, MixerModel, TokenMixer
from tmt.model.toeplitz_config import ToeplitzConfig

_KERNELS: dict[str, type[Kernel]] = {
    "raw": RawKernel,
    "delta": DeltaKernel,
    "softplus": SoftplusKernel,
    "decay": DecayKernel,
    "expsum": ExpSumKernel,
    "ones": OnesKernel,
}


class ToeplitzMixing(HeadedMixing):
    """Projection into heads, causal convolution of each head's channels, projection back.

    Without heads one kernel serves all channels and nothing is projected. The weights do not depend on the
    input: one convolution is linear in it.
    """

    def __init__(self, config: ToeplitzConfig):
        super().__init__(config.d_model, config.n_heads, config.output_bias)
        self.dropout = nn.Dropout(config.dropout)
        inner = config.bias if config.inner_bias else "none"
        biases = (inner, config.bias) if config.expanded else (config.bias,)
        convolutions = (_convolution(config, self.heads, bias) for bias in biases)
        self.convolutions = cast("list[ToeplitzConvolution]", nn.ModuleList(convolutions))

    def forward(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        """See :class:`TokenMixer`."""
        x = self.input(x).view(*cache.positions.shape, self.heads, -1)
        *inner, final = self.convolutions
        for convolution in inner:
            x = self.dropout(F.silu(convolution(x, cache)))
        return self.output(final(x, cache, last).flatten(2).flatten(0, 1))

    def flops(self, length: int) -> float:
        """See :class:`TokenMixer`."""
        return sum(convolution.flops(length) for convolution in self.convolutions)

    def initialise(self, init: Init) -> None:
        """See :class:`TokenMixer`."""
        for convolution in self.convolutions:
            convolution.initialise(init)

    def kernels(self) -> dict[str, Tensor]:
        """See :class:`TokenMixer`."""
        names = ("inner", "outer") if len(self.convolutions) == 2 else ("",)
        found = zip(names, self.convolutions, strict=True)
        return {name: convolution.taps(convolution.kernel.length) for name, convolution in found}

    def ops(self) -> dict[str, str]:
        """See :class:`TokenMixer`."""
        return self.convolutions[0].ops()


class ToeplitzMixer(MixerModel):
    """Toeplitz MLP Mixer."""

    config: ToeplitzConfig

    def make_mixer(self) -> TokenMixer:
        """See :class:`MixerModel`."""
        return ToeplitzMixing(self.config)


def _convolution(config: ToeplitzConfig, heads: int, bias: Bias) -> ToeplitzConvolution:
    sizes = (heads, config.channel_kernel, config.kernel_length)
    if config.kernel == "expsum":
        kernel: Kernel = ExpSumKernel(*sizes, config.kernel_rank, config.kernel_head)
    else:
        kernel = _KERNELS[config.kernel](*sizes)
    return ToeplitzConvolution(
        kernel,
        config.d_model // heads,
        bias="none" if config.kernel == "ones" else bias,
        mean=config.mean,
        endless=config.beyond == "formula" or config.decoding == "state",
        decode=config.decoding,
        impl=None if config.toeplitz == "auto" else config.toeplitz,
    )
