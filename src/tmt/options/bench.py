"""The options of `tmt bench`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.errors import unknown
from tmt.model.checks import require
from tmt.model.registry import ARCHITECTURES, architecture
from tmt.options import Options

TableName = Literal["ops", "train", "prefill", "decode", "toeplitz"]
"""The names in :data:`tmt.bench.TABLES`."""
FORMATS = ("fp32", "bf16")
"""The names in :data:`tmt.bench.DTYPES`."""


@dataclass(frozen=True)
class BenchOptions(Options):
    """Time ours against its peers in turns: medians, spread, growth with length, peak memory."""

    table: TableName
    """What to time; toeplitz: ways to run one Toeplitz mixer."""
    arch: str | None = None
    """Only this architecture, by name or file, in the tables of models; default: all."""
    preset: str | None = None
    """Size of the models: nano, small, medium, base or large; default: base to prefill, medium to
    decode, else nano."""
    lengths: str | None = None
    """Tokens per sequence, or of context before a decoding step: numbers with commas between; default:
    1024,4096,16384 for ops, 256 to train, 4096 to prefill, 8192 to decode, 256,1024 for toeplitz."""
    batch_size: int | None = None
    """Sequences per call; default: 8 to train, else 1."""
    dtypes: str | None = None
    """Number formats, fp32 or bf16, commas between; default: both for ops, bf16 to train, else fp32;
    fp32 alone where the machine has no products of bf16."""
    only: str = ""
    """Only rows whose name contains this."""
    seconds: float = 10.0
    """Time to repeat a row for; each call runs 3 to 100 times."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool | str = False
    """JSON lines on stdout instead of a table; with a file name, appended to it beside the table."""
    plot: Path | None = None
    """Folder for a figure of the table."""

    def __post_init__(self):
        """Refuse unknown number formats and numbers out of range."""
        for name in ("batch_size", "seconds"):
            value = getattr(self, name)
            require(value is None or value > 0, self, name, "must be above zero")
        for name in self.formats or ():
            if name not in FORMATS:
                raise unknown("number format", name, FORMATS)
        reason = "are not whole numbers above zero with commas between"
        parts = [] if self.lengths is None else self.lengths.split(",")
        good = all(part.strip().isdecimal() and int(part) > 0 for part in parts)
        require(good, self, "lengths", reason)

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        for arch in map(architecture, [self.arch] if self.arch else ARCHITECTURES):
            if self.preset is not None:
                arch.configure(self.preset, {})

    @property
    def formats(self) -> tuple[str, ...] | None:
        """`dtypes` one by one."""
        return None if self.dtypes is None else tuple(self.dtypes.split(","))

    @property
    def all_lengths(self) -> tuple[int, ...] | None:
        """`lengths` as numbers."""
        return None if self.lengths is None else tuple(map(int, self.lengths.split(",")))
