"""What a run says while it trains: metrics.jsonl as the truth, a progress bar, TensorBoard if wanted."""

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tmt.checkpoint import write_safely
from tmt.errors import InputError


class MetricsLog:
    """Appends one JSON object a line to metrics.jsonl, and mirrors numbers to TensorBoard when asked."""

    def __init__(self, folder: Path, resume_step: int, tensorboard: bool):
        """Drops lines beyond `resume_step`: a resumed run writes them again."""
        self._path = folder / "metrics.jsonl"
        kept = _lines(self._path, resume_step).encode()
        write_safely(self._path, lambda temporary: temporary.write_bytes(kept))
        self._file = self._path.open("ab", buffering=0)
        self._board = None
        if tensorboard:
            self._board = summary_writer()(str(folder / "tensorboard"), purge_step=resume_step or None)

    def write(self, step: int, **figures: Any) -> None:
        """One line: the step and its figures."""
        try:
            self._file.write((json.dumps({"step": step, **figures}) + "\n").encode())
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; go on with --resume once it can be"
            ) from error
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        if self._board is not None:
            self._board.close()


class Progress:
    """A bar over the share of the budget, on stderr; silent where that is no terminal or `show` is False."""

    FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining} {postfix}"

    def __init__(self, show: bool, share: float):
        self._bar = tqdm(
            total=1.0, initial=share, desc="training", bar_format=self.FORMAT, disable=None if show else True
        )

    def update(self, share: float, step: int, loss: float, speed: float, depth: float) -> None:
        """Show the state after a step; `speed` in tokens per second, `depth` as a share of the layers."""
        self._bar.set_postfix_str(
            f"step {step} loss {loss:.3f} {speed:,.0f} tok/s depth {depth:.2f}", refresh=False
        )
        self._bar.update(min(1.0, share) - self._bar.n)

    def say(self, message: str) -> None:
        """Print a line above the bar."""
        tqdm.write(message, file=sys.stderr)

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def _lines(path: Path, step: int) -> str:
    """The lines of an earlier session as far as `step`; one that was cut off is dropped."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if step and path.exists() else []
    return "".join(line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step)


def summary_writer() -> type:
    """TensorBoard's writer; InputError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            'tensorboard is not installed; pip install "temporalmesh-transformer[track]"'
        ) from error
    return SummaryWriter
