"""Configuration of the parameter-golf transformer: every ablation a field, and the named sizes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tmt.model.checks import changed, require, require_positive
from tmt.model.common_config import ModelConfig

_COMMON = dict(vocab_size=50257, max_seq_len=2048)


@dataclass(frozen=True, kw_only=True)
class GolfConfig(ModelConfig):
    """Sizes and switches of a :class:`tmt.model.golf.Golf`. Raises ValueError naming a bad field.

    None stands for the record's share: of the heads, of a head's width, of the depth.
    """

    PRESETS: ClassVar[dict[str, dict]] = {
        "nano": _COMMON | dict(vocab_size=4096, d_model=192, n_heads=6, n_layers=4, ffn_dim=880),
        "small": _COMMON | dict(d_model=256, n_heads=4, n_layers=4, ffn_dim=1176),
        "medium": _COMMON | dict(d_model=512, n_heads=8, n_layers=11, ffn_dim=2272),
        "base": _COMMON | dict(d_model=768, n_heads=12, n_layers=12, ffn_dim=3472),
        "large": _COMMON | dict(d_model=1024, n_heads=16, n_layers=24, ffn_dim=4640),
        "record": dict(vocab_size=8192, d_model=512, n_heads=8, n_layers=11, ffn_dim=2048),
    }

    max_seq_len: int = 2048
    """Longest sequence, decoding included. Beyond rope_length it stretches the rotation."""
    n_layers: int = 11
    """Blocks, each with weights of its own."""
    dropout: float = 0.0
    """Dropout on embeddings and residual updates while training."""
    layer_norm_eps: float = 2.0**-23
    """Epsilon of every norm."""
    embedding_std: float = 0.005
    """Standard deviation of the embeddings at the start."""

    n_kv_heads: int | None = None
    """Heads of keys and values, each shared by n_heads / n_kv_heads heads of queries; None: half of
    n_heads where that is even."""
    rope_dims: int | None = None
    """Channels of a head that rotate with the position, 0 for none; None: a quarter."""
    rope_length: int = 2048
    """Sequence that the rotation's base is made for. A longer max_seq_len stretches the base, by the
    configuration and not by the call, so that decoding from a cache stays the full pass."""
    qk_gain: float = 5.0
    """Gain of the normalised queries at the start, one a head."""
    xsa: bool = True
    """Take a token's own value out of what its heads hear."""
    ffn_dim: int = 2048
    """Hidden units of the MLP."""
    activation: Literal["leaky_relu2", "relu2"] = "leaky_relu2"
    """Of the MLP: the square of a leaky ReLU of slope ½, or of a ReLU."""
    ln_scale: bool = True
    """Multiply the norms of layer i, from 0, by 1/√(i + 1)."""
    residual_mix: bool = True
    """Let every block start from a learned mix of the stream and the embeddings."""
    softcap: float = 30.0
    """Bound of the logits; 0 for none."""
    unet_skips: bool = True
    """Feed what the first half of the layers put out to the second half, last first."""

    loop_start: int | None = None
    """First of the layers that run more than once."""
    loop_end: int | None = None
    """Last of them."""
    loop_passes: int = 3
    """How often they run; 1 for no loops."""
    loops_from: float = 0.35
    """Share of the training budget from which on they loop; outside training they always do."""
    pass_embedding: bool = False
    """Add a learned vector to the stream at every pass."""

    parallel: Literal["none", "simple", "lanes"] = "lanes"
    """The last layers: one sublayer after the other, both on the same input, or each on its own lane."""
    parallel_from: int | None = None
    """First of them."""
    lane_retention: float = 1.1
    """What a layer keeps of a lane at the start."""

    def __post_init__(self):
        """Validate every field."""
        super().__post_init__()
        self.require_heads(rotated=False)
        require_positive(self, "ffn_dim", "rope_length", "loop_passes")
        divides = self.kv_heads > 0 and self.n_heads % self.kv_heads == 0
        require(divides, self, "n_kv_heads", f"does not divide n_heads={self.n_heads}")
        width = self.d_model // self.n_heads
        pairs = self.rotated % 2 == 0 and 0 <= self.rotated <= width
        require(pairs, self, "rope_dims", f"must be even and in [0, {width}], the width of a head")
        require(self.softcap >= 0, self, "softcap", "must not be negative")
        require(0 <= self.loops_from <= 1, self, "loops_from", "must be in [0, 1]")
        self._check_layers()

    def _check_layers(self) -> None:
        last = self.n_layers - 1
        require(self.first_looped >= 0, self, "loop_start", "must not be negative")
        reason = f"must be in [{self.first_looped}, {last}], from loop_start to the last layer"
        require(self.first_looped <= self.last_looped <= last, self, "loop_end", reason)
        half = self.n_layers // 2
        reason = f"must be in [{half}, {self.n_layers}], the second half of the layers"
        require(half <= self.first_parallel <= self.n_layers, self, "parallel_from", reason)
        if self.parallel == "lanes" and self.loop_passes > 1:
            reason = (
                f"loops up to layer {self.last_looped}; lanes, from {self.first_parallel} on, do not loop"
            )
            require(self.last_looped < self.first_parallel, self, "loop_end", reason)

    def unused(self) -> dict[str, str]:
        """See :class:`ModelConfig`."""
        reasons = {}
        if self.loop_passes == 1:
            names = ("loop_start", "loop_end", "loops_from")
            reasons |= dict.fromkeys(names, "loop_passes=1 loops nothing")
        if self.parallel == "none":
            reasons["parallel_from"] = "parallel=none has no such layers"
        if self.parallel != "lanes":
            reasons["lane_retention"] = f"parallel={self.parallel} has no lanes"
        if not self.rotated:
            reasons["rope_length"] = "rope_dims=0 rotates nothing"
        return changed(self, reasons)

    @property
    def kv_heads(self) -> int:
        """`n_kv_heads`, None resolved."""
        if self.n_kv_heads is not None:
            return self.n_kv_heads
        return self.n_heads if self.n_heads % 2 else self.n_heads // 2

    @property
    def rotated(self) -> int:
        """`rope_dims`, None resolved."""
        width = self.d_model // self.n_heads
        return width // 4 // 2 * 2 if self.rope_dims is None else self.rope_dims

    @property
    def first_looped(self) -> int:
        """`loop_start`, None resolved."""
        return 3 * self.n_layers // 11 if self.loop_start is None else self.loop_start

    @property
    def last_looped(self) -> int:
        """`loop_end`, None resolved."""
        return max(self.first_looped, 5 * self.n_layers // 11) if self.loop_end is None else self.loop_end

    @property
    def first_parallel(self) -> int:
        """`parallel_from`, None resolved."""
        return max(1, round(8 * self.n_layers / 11)) if self.parallel_from is None else self.parallel_from

    @property
    def rope_base(self) -> float:
        """Base of the rotation: 10000, stretched so that the slowest pair turns as far as it was made for."""
        stretch = max(1.0, self.max_seq_len / self.rope_length)
        return 10000.0 * stretch ** (self.rotated / max(1, self.rotated - 2))

    def route(self, looped: bool) -> tuple[list[int], list[int]]:
        """Layers in the order in which they run: the first half of the way, rounded down, and the second."""
        layers = list(range(self.n_layers))
        start, end = self.first_looped, self.last_looped + 1
        passes = self.loop_passes if looped else 1
        way = layers[:start] + passes * layers[start:end] + layers[end:]
        half = len(way) // 2
        return way[:half], way[half:]
