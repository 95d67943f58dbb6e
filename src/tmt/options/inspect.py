"""The options of `tmt inspect`."""

from dataclasses import dataclass, field
from pathlib import Path

from tmt.errors import InputError
from tmt.options import RunOptions, refuse_unused
from tmt.run_folder import check_run, require_writable


@dataclass(frozen=True)
class InspectOptions(RunOptions):
    """Show what a run does with a text: depth, neighbours, gates, decay, memory, loss."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    text: str = ""
    """Text of at most 256 tokens."""
    top: int = 3
    """Strongest past tokens to show."""
    layer: int | None = None
    """Layer whose attention is shown, from 0; default: the last mesh layer."""
    set: list[str] = field(default_factory=list)
    """Override a model field that shapes no weight, model.field=value; repeatable."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    ops: bool = False
    """Show instead which implementation each operation takes on this machine; needs no text."""
    operator: bool = False
    """Show instead what operators the Toeplitz kernels are: index, condition, singular values; needs no
    text."""
    plot: Path | None = None
    """SVG or PNG file for the symbols of those kernels."""
    json: bool = False
    """JSON lines instead of tables: first the model, then each token; or each kernel."""

    def __post_init__(self):
        """Refuse what contradicts itself."""
        if self.plot is not None and not self.operator:
            raise InputError("--plot draws Toeplitz kernels; give --operator with it")

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.ops and self.operator:
            raise InputError("--ops and --operator show different things; give one of them")
        if self.ops or self.operator:
            reason = f"--{'ops' if self.ops else 'operator'} shows no text"
            refuse_unused(given, ("text", "top", "layer"), reason)
        if self.plot is not None:
            require_writable(self.plot)
        self.agree(self.run)
        check_run(self.run, self.set)
