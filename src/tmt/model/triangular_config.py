"""Configuration of the masked mixer, and the named sizes."""

from dataclasses import dataclass
from typing import ClassVar

from tmt.model.checks import require
from tmt.model.mixer_config import MixerConfig

_COMMON = dict(vocab_size=50257, max_seq_len=8192)


@dataclass(frozen=True, kw_only=True)
class TriangularConfig(MixerConfig):
    """Sizes and switches of a :class:`TriangularMixer`. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = {
        "nano": _COMMON | dict(vocab_size=4096, d_model=192, n_layers=4, ffn_dim=1000, kernel_length=256),
        "small": _COMMON | dict(d_model=256, n_layers=4, ffn_dim=1048, kernel_length=512),
        "medium": _COMMON | dict(d_model=512, n_layers=6, ffn_dim=4632),
        "base": _COMMON | dict(d_model=768, n_layers=12, ffn_dim=3952),
        "large": _COMMON | dict(d_model=1024, n_layers=24, ffn_dim=5656),
    }

    LONGER: ClassVar[str] = ""

    n_heads: int = 0
    """Matrices per layer, each for its share of the projected channels; 0: one matrix, no projections."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        self.require_heads_or_none()
        require(self.beyond == "error", self, "beyond", "is no option for a matrix over positions")
