"""The options of `tmt tasks`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from tmt.errors import InputError
from tmt.model.checks import require
from tmt.model.registry import architecture
from tmt.options import RunOptions, refuse_unused
from tmt.overrides import model_overrides
from tmt.run_folder import check_run

INFORMATION = "information"
TaskName = Literal[
    "copy", "copy-variable", "copy-selective", "mqar", "labels", "markov", "induction", "text-retrieval",
    "information", "list",
]  # fmt: skip
"""The names in :data:`tmt.tasks.TASKS`, and what is no task of that kind."""
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class TasksOptions(RunOptions):
    """Train small models on a synthetic task, fresh sequences every step, and score them."""

    task: TaskName
    """Which task; list: show them all."""
    arch: str | None = None
    """Architectures by name or file, commas between; default: tmt."""
    preset: str | None = None
    """Size: nano, small, medium, base or large; default: two layers of four heads and width 64 (128 for
    information)."""
    set: list[str] = field(default_factory=list)
    """Any model field, repeatable: model.d_model=128."""
    size: list[str] = field(default_factory=list)
    """Any size of the task, repeatable: pairs=16."""
    steps: int | None = None
    """Training steps; default: the task's own. Encoders and decoders of information take as many each."""
    batch_size: int | None = None
    """Sequences per step; default: 64, 32 for information."""
    lr: str | None = None
    """Learning rates, commas between: each is trained; default: 3e-3, 1e-3 for information."""
    seeds: str = "0"
    """Seeds of weights and sequences, commas between: each is trained."""
    encoder: Path | None = None
    """Run folder or artifact of the encoder of information; default: one is trained."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool | str = False
    """JSON lines on stdout instead of tables; with a file name, appended to it beside the tables, and
    what it holds already is not trained again."""

    def __post_init__(self):
        """Refuse bad numbers, and what contradicts itself."""
        for name in ("steps", "batch_size"):
            value = getattr(self, name)
            require(value is None or value > 0, self, name, "must be above zero")
        for seed in self.seed_numbers:
            if seed < 0:
                raise InputError(f"seed={seed} must not be negative")
        for rate in self.rates:
            if not rate > 0:
                raise InputError(f"lr={rate:g} must be above zero")
        _assignments(self.size)
        if self.encoder is None:
            return
        if self.task != INFORMATION:
            raise InputError(f"--encoder belongs to the task {INFORMATION}, not to {self.task}")
        if self.arch or self.preset or self.set:
            raise InputError("--encoder brings its own model: leave --arch, --preset and --set out")

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        for arch in map(architecture, self.architectures):
            arch.configure(self.preset or "nano", {})
            arch.require_fields(self.model_fields)
        if self.task == "list":
            refuse_unused(given, sorted(given - {"task"}), "list only shows the tasks")
        if self.trust is not None and self.encoder is None:
            refuse_unused(given, ("trust",), "no run is opened without --encoder")
        self.agree(self.encoder)
        if self.encoder is not None:
            check_run(self.encoder)

    @property
    def architectures(self) -> list[str]:
        """`arch` one by one, each once."""
        return list(dict.fromkeys((self.arch or "tmt").split(",")))

    @property
    def seed_numbers(self) -> list[int]:
        """`seeds` as numbers, each once."""
        return _numbers("seeds", self.seeds, int)

    @property
    def rates(self) -> list[float]:
        """`lr` as numbers, each once; empty for the task's own."""
        return [] if self.lr is None else _numbers("lr", self.lr, float)

    @property
    def model_fields(self) -> dict[str, Any]:
        """The model fields that are set."""
        return model_overrides(self.set, "a task")

    @property
    def sizes(self) -> dict[str, str]:
        """`["pairs=16"]` as `{"pairs": "16"}`."""
        return _assignments(self.size)


def _numbers(name: str, text: str, kind: type[Number]) -> list[Number]:
    try:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError as error:
        raise InputError(f"{name}={text!r} are not numbers with commas between") from error


def _assignments(sizes: list[str]) -> dict[str, str]:
    assigned = {}
    for assignment in sizes:
        name, equals, value = assignment.partition("=")
        if not (name and equals and value):
            raise InputError(f"--size {assignment!r} is not of the form name=number")
        assigned[name] = value
    return assigned
