"""Configuration of the dense baseline, and the named sizes."""

from dataclasses import dataclass
from typing import ClassVar

from tmt.model.checks import require_positive
from tmt.model.common_config import ModelConfig

_COMMON = dict(vocab_size=50257, max_seq_len=8192)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """Sizes of a :class:`Transformer`. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = {
        "nano": _COMMON | dict(vocab_size=4096, d_model=192, n_heads=6, n_layers=4, ffn_dim=528),
        "small": _COMMON | dict(d_model=256, n_heads=4, n_layers=4, ffn_dim=704),
        "medium": _COMMON | dict(d_model=512, n_heads=8, n_layers=6, ffn_dim=3088),
        "base": _COMMON | dict(d_model=768, n_heads=12, n_layers=12, ffn_dim=2064),
        "large": _COMMON | dict(d_model=1024, n_heads=16, n_layers=24, ffn_dim=2752),
    }

    ffn_dim: int = 1376
    """Hidden units of the SwiGLU."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        self.require_heads(rotated=True)
        require_positive(self, "ffn_dim")
