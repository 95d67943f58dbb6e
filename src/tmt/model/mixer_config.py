"""What the attention-free architectures are configured by beside the common sizes."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from tmt.layers.toeplitz_choices import Init
from tmt.model.checks import changed, require, require_positive
from tmt.model.common_config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class MixerConfig(ModelConfig):
    """Sizes and switches of a :class:`MixerModel`. Raises ValueError naming a bad field."""

    LONGER: ClassVar[str] = " (a policy for longer sequences: --set model.beyond=fir)"
    """What lets sequences exceed kernel_length, for messages; empty where nothing does."""

    kernel_length: int = 1024
    """Taps of a kernel and positions of a bias: the longest sequence unless `beyond` says otherwise."""
    beyond: Literal["error", "fir", "formula"] = "error"
    """Sequences longer than kernel_length: refused; heard through the last kernel_length tokens of each
    layer; or by a kernel whose formula goes on (decay, expsum)."""
    ffn_dim: int = 2048
    """Hidden units of the MLP."""
    activation: Literal["silu", "gelu"] = "silu"
    """Of the MLP."""
    layout: Literal["mlp_first", "mix_first"] = "mlp_first"
    """Order of the two halves of a block."""
    norm: Literal["layer", "rms"] = "layer"
    """Normalisation before each half, and before the head."""
    final_norm: bool = True
    """Normalise before the head."""
    init: Init = "identity"
    """Weights at the start: small, mixing near the identity; or He's with unit embeddings, as published."""
    dropout: float = 0.0
    """Dropout on embeddings and inside the MLP while training."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        require_positive(self, "kernel_length", "ffn_dim")

    def unused(self) -> dict[str, str]:
        """See :class:`ModelConfig`."""
        unit = {"embedding_std": "init=kaiming starts them at 1"} if self.init == "kaiming" else {}
        return {**super().unused(), **changed(self, unit)}

    def require_heads_or_none(self) -> None:
        """InputError unless n_heads is 0 or shares out d_model."""
        require(self.n_heads >= 0, self, "n_heads", "must not be negative")
        if self.n_heads:
            self.require_heads(rotated=False)

    @property
    def longest(self) -> int:
        """See :class:`ModelConfig`."""
        return min(self.max_seq_len, self.kernel_length) if self.beyond == "error" else self.max_seq_len

    @property
    def limit(self) -> str:
        """See :class:`ModelConfig`."""
        if self.longest == self.max_seq_len:
            return super().limit
        return f"kernel_length={self.kernel_length}{self.LONGER}"

    def for_length(self, length: int) -> Self:
        """See :class:`ModelConfig`."""
        longer = super().for_length(length)
        if self.beyond != "error":
            return longer
        return replace(longer, kernel_length=max(self.kernel_length, length))
