"""Configuration of the Toeplitz mixer, and the named sizes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tmt.layers.toeplitz_choices import Bias, KernelKind
from tmt.model.checks import changed, require
from tmt.model.mixer_config import MixerConfig

_COMMON = dict(vocab_size=50257, max_seq_len=8192)


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
        expsum = self.kernel == "expsum"
        fits = self.kernel_head <= self.kernel_length or not expsum
        require(fits, self, "kernel_head", f"exceeds kernel_length={self.kernel_length}")
        require(self.decode != "state" or expsum, self, "decode", "needs kernel=expsum; see `tmt convert`")
        positive = self.kernel in ("softplus", "ones")
        require(positive or not self.mean, self, "mean", f"needs positive taps, not kernel={self.kernel}")
        endless = expsum or self.kernel == "decay"
        require(endless or self.beyond != "formula", self, "beyond", f"has none for kernel={self.kernel}")
        reason = "cuts the kernel off, which no state does; use decode=direct or beyond=formula"
        require(self.beyond != "fir" or self.decoding != "state", self, "beyond", reason)

    def unused(self) -> dict[str, str]:
        """See :class:`ModelConfig`."""
        reasons = {}
        if self.kernel != "expsum":
            reasons |= dict.fromkeys(("kernel_rank", "kernel_head"), f"kernel={self.kernel} has none")
        if not self.expanded:
            reasons["inner_bias"] = "expanded=false has one convolution"
        if not self.n_heads:
            reasons["output_bias"] = "n_heads=0 has no projection"
        unused = {**super().unused(), **changed(self, reasons)}
        if self.kernel == "ones" and self.bias != "none":
            unused["bias"] = "kernel=ones has none"
        return unused

    @property
    def decoding(self) -> Literal["direct", "relaxed", "state"]:
        """`decode`, auto resolved."""
        if self.decode != "auto":
            return self.decode
        return "state" if self.kernel == "expsum" and self.beyond != "fir" else "direct"
