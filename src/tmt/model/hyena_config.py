"""Configuration of the gated long convolution, and the named sizes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tmt.model.checks import require
from tmt.model.mixer_config import MixerConfig

_COMMON = dict(vocab_size=50257, max_seq_len=8192, layout="mix_first")


@dataclass(frozen=True, kw_only=True)
class HyenaConfig(MixerConfig):
    """Sizes and switches of a :class:`Hyena`. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = {
        "nano": _COMMON | dict(vocab_size=4096, d_model=192, n_layers=4, ffn_dim=744, kernel_length=256),
        "small": _COMMON | dict(d_model=256, n_layers=4, ffn_dim=992),
        "medium": _COMMON | dict(d_model=512, n_layers=6, ffn_dim=4584),
        "base": _COMMON | dict(d_model=768, n_layers=12, ffn_dim=3056),
        "large": _COMMON | dict(d_model=1024, n_layers=24, ffn_dim=4088),
    }

    layout: Literal["mlp_first", "mix_first"] = "mix_first"
    """Order of the two halves of a block."""
    short_filter: int = 3
    """Tokens that the filter before the gates mixes."""
    decode: Literal["direct", "relaxed"] = "direct"
    """What is remembered between calls: the inputs, or half-made outputs too."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        require(self.short_filter >= 1, self, "short_filter", "must be at least 1")
        require(self.beyond != "formula", self, "beyond", "has none for an implicit kernel")
