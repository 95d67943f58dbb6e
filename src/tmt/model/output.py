"""What a model returns."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields

from torch import Tensor

from tmt.layers.cache import State
from tmt.layers.rows import rolled


@dataclass(repr=False)
class ModelOutput:
    """Result of one forward call on tokens (B, T)."""

    logits: Tensor | None = None
    """(B, T, V), or (B, 1, V) with last_only; None when targets were given."""
    loss: Tensor | None = None
    """Mean negative log-likelihood of the targets in nats, float32 scalar."""
    nll: Tensor | None = None
    """(B, T) negative log-likelihood of every target in nats (0 where not scored), without gradients."""
    penalty: Tensor | None = None
    """The exits' own training objective, float32 scalar, where it has one."""
    state: State | None = None
    """Decoding state after these tokens, when asked for."""
    work: list[Callable[[], float]] = field(default_factory=list)
    """Counters of what ran; see :attr:`flops`."""
    batching: list[Callable[[], float]] = field(default_factory=list)
    """Counters of what running each sequence by itself would add to that; see :attr:`flops_alone`."""
    layer_tokens: list[int] = field(default_factory=list)
    """Tokens that each layer worked on."""
    depth: Tensor | None = None
    """(B, T) int64 layers that each token ran, where that differs between tokens."""
    statistics: dict[str, Tensor] = field(default_factory=dict)
    """Detached sums for :meth:`tmt.model.base.LanguageModel.after_step`; add them up over
    micro-batches and ranks."""

    @property
    def flops(self) -> float:
        """Operations executed (a multiply-add is two), head included, counted from the shapes that ran.

        NaN of a model that does not count them.
        """
        return sum(count() for count in self.work)

    @property
    def flops_alone(self) -> float:
        """The same were every sequence of the batch run by itself: no padding, and nothing is shared."""
        return self.flops + sum(count() for count in self.batching)

    def padded_on_the_left(self, lengths: Tensor) -> None:
        """Put what was made of rows of those lengths, with padding on the right, where its tokens are."""
        for name in ("logits", "nll", "depth"):
            grid = getattr(self, name)
            if grid is not None and grid.shape[1] > 1:
                setattr(self, name, rolled(grid, -lengths))

    def __repr__(self) -> str:
        """Names and shapes, no values."""
        tensors = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items())
        return f"{type(self).__name__}({shapes})"


@dataclass
class Hidden:
    """What a trunk returns: final states (B·T, D) before the last norm, and the fields of its output."""

    states: Tensor
    output: ModelOutput = field(default_factory=ModelOutput)
    last: bool = False
    """The states are (B, D), of each row's last valid token alone."""
