"""What a run says while it trains: metrics.jsonl as the truth, a progress bar, TensorBoard if wanted."""

import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tmt.checkpoint import write_safely
from tmt.errors import InputError
from tmt.run_folder import METRICS


class MetricsLog:
    """Appends one JSON object a line to metrics.jsonl, and mirrors numbers to TensorBoard when asked."""

    def __init__(self, folder: Path, resume_step: int, tensorboard: bool):
        """Drops lines beyond `resume_step`, which the run writes again, and damaged ones, which it names.

        TensorBoard's files are made anew from the lines that are kept.
        """
        self._path = folder / METRICS
        lines = _lines(self._path, resume_step)
        write_safely(self._path, lambda temporary: temporary.write_bytes(b"".join(lines)))
        self._file = self._path.open("ab", buffering=0)
        self._board = None
        if tensorboard:
            for events in (folder / "tensorboard").glob("events.out.tfevents.*"):
                events.unlink()
            self._board = summary_writer()(str(folder / "tensorboard"))
            for line in lines:
                self._mirror(json.loads(line))

    def write(self, step: int, **figures: Any) -> None:
        """One line: the step and its figures."""
        line = {"step": step, **figures}
        try:
            self._file.write((json.dumps(line) + "\n").encode())
        except OSError as error:
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; go on with --resume once it can be"
            ) from error
        self._mirror(line)

    def _mirror(self, line: dict[str, Any]) -> None:
        if self._board is None:
            return
        for name, value in line.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, line["step"])

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


def _lines(path: Path, step: int) -> list[bytes]:
    """The lines of an earlier session as far as `step`; the last one is dropped if it was cut off."""
    kept: list[bytes] = []
    if not step or not path.exists():
        return kept
    with path.open("rb") as file:
        lines = file.readlines()
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            if _step(line) <= step:
                kept.append(line)
        except (ValueError, RecursionError):
            message = f"tmt: {path}, line {number} is damaged and is left out: {line[:40]!r}"
            print(message, file=sys.stderr)
    return kept


def _step(line: bytes) -> int:
    """The step of a line; ValueError where it is none that :meth:`MetricsLog.write` has written."""
    content = json.loads(line)
    if not isinstance(content, dict) or type(content.get("step")) is not int:
        raise ValueError("no object with a step")
    return content["step"]


def summary_writer() -> type:
    """TensorBoard's writer; InputError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            'tensorboard is not installed; pip install "temporalmesh-transformer[track]"'
        ) from error
    return SummaryWriter
