"""The options of `tmt pack`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tmt.errors import InputError
from tmt.options import RunOptions
from tmt.run_folder import check_run, require_writable


@dataclass(frozen=True)
class PackOptions(RunOptions):
    """Quantise and compress a run into one file, which every command takes in place of the run folder."""

    run: str
    """Run folder, or an artifact of tmt pack."""
    out: Path | None = None
    """File to write, such as model.tmt; without it the packing is only measured."""
    bits: int = 6
    """Bits of the matrices, by GPTQ."""
    embed_bits: int = 8
    """Bits of embedding and head."""
    limit: int | None = 16_000_000
    """Most bytes of file and code together; null: any number."""
    fit: bool = False
    """Search the clip widths for the smallest loss on training text that fits the limit."""
    clip: float = 12.85
    """Standard deviations of its row at which a weight is clipped; larger is coarser and smaller in bytes."""
    embed_clip: float = 20.0
    """The same of embedding and head."""
    tokens: int = 65536
    """Tokens of the train split that the matrices are calibrated on."""
    small: int = 65536
    """Tensors of at most so many elements are kept in half precision."""
    unguided: Literal["refuse", "half", "round"] = "refuse"
    """Larger tensors that are no weight of a linear layer (matrices over positions, long kernels): refuse
    them, keep them in half precision, or round them to --embed-bits."""
    lqer: int = 0
    """Rank of a correction added to the three worst matrices; 0: none."""
    code: Literal["plain", "compressed"] = "plain"
    """How the source files that loading and scoring need are counted: as they are, or in one archive."""
    check: int = 16384
    """Tokens of the validation split scored before and after; 0: none."""
    device: str = "auto"
    """Where the model runs: cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool = False
    """One JSON object on one line instead of tables, with every tensor."""

    def __post_init__(self):
        """Refuse bad sizes and what contradicts itself."""
        if self.tokens < 1 or self.check < 0:
            raise InputError(f"tokens={self.tokens} must be at least 1 and check={self.check} at least 0")
        if self.fit and self.limit is None:
            raise InputError("--fit needs a --limit to fit")

    def verify(self, given: frozenset[str]) -> None:
        """See :class:`Options`."""
        if self.out is not None and self.out.is_dir():
            raise InputError(f"{self.out} is a folder; name a file, such as --out {self.out}/model.tmt")
        if self.out is not None:
            require_writable(self.out)
        self.agree(self.run)
        check_run(self.run)
