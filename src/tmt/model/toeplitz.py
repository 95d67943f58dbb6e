"""Toeplitz MLP Mixer: causal convolutions over the whole sequence mix the tokens (Badger & Roland, 2026)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.toeplitz_convolution import Bias, ToeplitzConvolution
from tmt.layers.toeplitz_kernel import (
    DecayKernel,
    DeltaKernel,
    ExpSumKernel,
    Init,
    Kernel,
    KernelKind,
    OnesKernel,
    RawKernel,
    SoftplusKernel,
)
from tmt.model.checks import require
from tmt.model.mixer import HeadedMixing, MixerConfig, MixerModel, TokenMixer

_COMMON = dict(vocab_size=50257, max_seq_len=8192)

_KERNELS: dict[str, type[Kernel]] = {
    "raw": RawKernel,
    "delta": DeltaKernel,
    "softplus": SoftplusKernel,
    "decay": DecayKernel,
    "expsum": ExpSumKernel,
    "ones": OnesKernel,
}


@dataclass(frozen=True, kw_only=True)
class ToeplitzConfig(MixerConfig):
    """Sizes and switches of a :class:`ToeplitzMixer`. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = {
        "nano": _COMMON | dict(vocab_size=4096, d_model=192, n_layers=4, ffn_dim=976, kernel_length=256),
        "small": _COMMON | dict(d_model=256, n_layers=4, ffn_dim=1296),
        "medium": _COMMON | dict(d_model=512, n_layers=6, ffn_dim=5136),
        "base": _COMMON | dict(d_model=768, n_layers=12, ffn_dim=3856),
        "large": _COMMON | dict(d_model=1024, n_layers=24, ffn_dim=5144),
    }

    n_heads: int = 4
    """Kernels per layer, each for its share of the projected channels; 0: one kernel, no projections."""
    kernel: KernelKind = "delta"
    """What makes the taps: themselves, the identity plus themselves, their softplus, taps under an
    exponential decay, free taps and a sum of exponentials, or ones that are not trained."""
    kernel_rank: int = 16
    """Damped oscillations of an expsum kernel."""
    kernel_head: int = 4
    """Free first taps of an expsum kernel."""
    channel_kernel: int = 1
    """Neighbouring channels that are mixed, each shift with a kernel of its own."""
    expanded: bool = False
    """Two convolutions with a SiLU between them instead of one."""
    inner_bias: bool = True
    """Give the first of the two its bias as well."""
    bias: Bias = "position"
    """Added after mixing: a number per position and head, per channel, or nothing."""
    mean: bool = False
    """Divide by the sum of the taps, a weighted average; for positive kernels."""
    output_bias: bool = True
    """Bias of the projection after the heads."""
    decode: Literal["auto", "direct", "relaxed", "state"] = "auto"
    """What is remembered between calls: the inputs (O(d t) a token), half-made outputs too (O(d log² n)),
    or the state of an expsum kernel (O(d r)); auto: the state where there is one, else the inputs."""
    toeplitz: Literal["auto", "dense", "blocked", "fft"] = "auto"
    """Path of the Toeplitz product; auto: the fastest for the length."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        self.require_heads_or_none()
        width = self.d_model // max(1, self.n_heads)
        require(1 <= self.channel_kernel <= width, self, "channel_kernel", f"must be in [1, {width}]")
        for name in ("kernel_rank", "kernel_head"):
            require(getattr(self, name) >= 0, self, name, "must not be negative")
        require(self.kernel_head <= self.kernel_length, self, "kernel_head", "exceeds kernel_length")
        expsum = self.kernel == "expsum"
        require(self.decode != "state" or expsum, self, "decode", "needs kernel=expsum; see `tmt convert`")
        positive = self.kernel in ("softplus", "ones")
        require(positive or not self.mean, self, "mean", f"needs positive taps, not kernel={self.kernel}")
        endless = expsum or self.kernel == "decay"
        require(endless or self.beyond != "formula", self, "beyond", f"has none for kernel={self.kernel}")
        reason = "cuts the kernel off, which no state does; use decode=direct or beyond=formula"
        require(self.beyond != "fir" or self.decoding != "state", self, "beyond", reason)

    @property
    def decoding(self) -> Literal["direct", "relaxed", "state"]:
        """`decode`, auto resolved."""
        if self.decode != "auto":
            return self.decode
        return "state" if self.kernel == "expsum" and self.beyond != "fir" else "direct"


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

    def flops(self, length: int) -> int:
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
