"""What every architecture is configured by: the shared sizes, their checks, and named presets."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from tmt.errors import unknown
from tmt.model.checks import require, require_positive


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes that all architectures have. Raises ValueError naming a bad field."""

    PRESETS: ClassVar[dict[str, dict]] = {"nano": {}}
    """Fields of the named sizes; the same name is the same number of parameters in every architecture."""

    ABSENT: ClassVar[dict[str, str]] = {}
    """What a saved configuration means by lacking a field that is younger than it."""

    vocab_size: int = 32000
    """Tokens in the vocabulary."""
    max_seq_len: int = 1024
    """Longest sequence, decoding included. No parameter depends on it."""
    d_model: int = 512
    """Width of the residual stream."""
    n_heads: int = 8
    """Heads of the token mixing; they share d_model."""
    n_layers: int = 12
    """Blocks."""
    dropout: float = 0.1
    """Dropout on embeddings and residual updates while training."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every norm."""
    tie_embeddings: bool = True
    """One matrix for input embedding and output head."""
    embedding_std: float = 0.02
    """Standard deviation of the embeddings at the start; 0.2 lets small attention models find lookups."""

    def __post_init__(self):
        """Validate every field."""
        require_positive(self, "vocab_size", "max_seq_len", "d_model", "n_layers", "layer_norm_eps")
        require_positive(self, "embedding_std")
        require(0 <= self.dropout < 1, self, "dropout", "must be in [0, 1)")
        for field, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                choices = get_args(kind)
                require(getattr(self, field) in choices, self, field, f"is none of {', '.join(choices)}")

    def unused(self) -> dict[str, str]:
        """Fields that are set to no effect as the others stand, and why."""
        return {}

    def require_heads(self, *, rotated: bool) -> None:
        """InputError unless there are heads of equal width, an even one where positions rotate pairs."""
        require_positive(self, "n_heads")
        reason = f"is not divisible by n_heads={self.n_heads}"
        require(self.d_model % self.n_heads == 0, self, "d_model", reason)
        width = self.d_model // self.n_heads
        odd = f"makes heads of odd width {width}; rotation turns pairs"
        require(not rotated or width % 2 == 0, self, "n_heads", odd)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that the model takes."""
        return self.max_seq_len

    @property
    def limit(self) -> str:
        """What sets :attr:`longest`, for messages."""
        return f"max_seq_len={self.max_seq_len}"

    def for_length(self, length: int) -> Self:
        """The same sizes, for sequences of at least `length` tokens."""
        return replace(self, max_seq_len=max(self.max_seq_len, length))

    @classmethod
    def preset(cls, name: str, **overrides) -> Self:
        """A named size: nano, small (16 M parameters), medium (60 M), base (120 M), large (350 M)."""
        if name not in cls.PRESETS:
            raise unknown("preset", name, cls.PRESETS)
        return cls(**{**cls.PRESETS[name], **overrides})
