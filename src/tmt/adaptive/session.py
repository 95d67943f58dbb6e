"""A pass run to its end, with a time budget, a bar, and a folder from which it goes on where it stopped."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from tmt.adaptive.scoring import AdaptivePass, ChunkScore
from tmt.checkpoint import model_state
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.training.interrupt import Interrupt
from tmt.training.state import load_state, save_state

TARGET = np.dtype([("nats", "<f8"), ("bytes", "<u2")])
"""A record of targets.bin: the loss of a target and the bytes of text it stands for."""
PIECE = 2**16
"""Tokens that are hashed at once."""
SAVE_EVERY = 30.0
"""Seconds between two saves."""

TargetBytes = Callable[[int, int], npt.NDArray[np.int64]]
"""UTF-8 bytes of tokens start..stop − 1 of the stream."""


@dataclass
class Progress:
    """How far a pass has come."""

    chunks: int = 0
    targets: int = 0
    bytes: int = 0
    nats: list[float] = field(default_factory=list)
    """Summed losses of the model and after each part in turn."""
    elapsed: float = 0.0
    """Seconds, those before an interruption included."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By the model and by each part."""

    def add(self, chunk: ChunkScore, target_bytes: npt.NDArray[np.int64]) -> None:
        """Take in a chunk."""
        sums = chunk.nats.sum(0).tolist()
        self.nats = [a + b for a, b in zip(self.nats or [0.0] * len(sums), sums, strict=True)]
        self.chunks, self.targets = chunk.index + 1, self.targets + len(chunk.nats)
        self.bytes += int(target_bytes.sum())


class Session:
    """Runs a pass.

    Attributes:
        progress: what is scored so far.
        figures: what each part says of itself, by its name, when the run has ended.
    """

    def __init__(self, scoring: AdaptivePass, target_bytes: TargetBytes, folder: Path | None, identity: str):
        """`folder`: where targets.bin and the state are kept, None for nowhere.

        Raises:
            InputError: the folder holds the score of something else, by its `identity`.
        """
        self._pass, self._bytes, self._folder, self._identity = scoring, target_bytes, folder, identity
        self._first = scoring.ranks.first
        self.progress = Progress()
        self.figures: dict[str, Any] = {}
        if folder is not None:
            self._open(folder)

    @property
    def complete(self) -> bool:
        """Whether every target is scored."""
        return self.progress.chunks == self._pass.chunks

    def run(self, name: str, minutes: float | None = None) -> None:
        """Score what is left, for at most so many minutes since the very start; KeyboardInterrupt on Ctrl-C.

        Either stops at the end of a chunk: before one that, as long as the longest so far, would overrun.
        The first is scored in any case.
        """
        before, started = self.progress.elapsed, time.monotonic()
        longest, latest = 0.0, before
        if self.complete or (self.progress.chunks and self._late(minutes, longest)):
            return
        saved = started
        hidden = None if self._first else True
        bar = tqdm(
            total=self._pass.targets,
            initial=self.progress.targets,
            desc=name,
            unit="tok",
            unit_scale=True,
            disable=hidden,
        )
        with Interrupt() as interrupt, bar:
            for chunk in self._pass.run(self.progress.chunks):
                self._take(chunk)
                bar.update(len(chunk.nats))
                bar.set_postfix_str(f"{self.progress.nats[-1] / self.progress.targets:.4f} nats")
                self.progress.elapsed = before + time.monotonic() - started
                self.progress.seconds = dict(self._pass.seconds)
                stop = self._pass.ranks.any(interrupt.requested)
                longest, latest = max(longest, self.progress.elapsed - latest), self.progress.elapsed
                late = self._late(minutes, longest)
                if stop or late or self.complete or time.monotonic() - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
                if stop and not self.complete:
                    raise KeyboardInterrupt
                if late:
                    return

    def _late(self, minutes: float | None, ahead: float) -> bool:
        """Whether so many seconds more are too many, by the first rank's clock."""
        return minutes is not None and self._pass.ranks.share(self.progress.elapsed + ahead) >= 60 * minutes

    def _take(self, chunk: ChunkScore) -> None:
        low = chunk.start + 1
        sizes = self._bytes(low, low + len(chunk.nats))
        if self._folder is not None and self._first:
            records = np.empty(len(sizes), TARGET)
            records["nats"], records["bytes"] = chunk.nats[:, -1], sizes
            with (self._folder / "targets.bin").open("r+b") as file:
                file.seek(TARGET.itemsize * self.progress.targets)
                file.write(records.tobytes())
        self.progress.add(chunk, sizes)

    def _open(self, folder: Path) -> None:
        state = folder / "state.safetensors"
        if not state.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "targets.bin").touch()
            except OSError as error:
                raise InputError(f"cannot write {folder}: {error.strerror}") from error
            return
        saved = load_state(state)
        if saved["identity"] != self._identity:
            raise InputError(
                f"{folder} holds the score of another model, stream or settings; name a new --out"
            )
        self.progress = Progress(**saved["progress"])
        self._pass.seconds.update(self.progress.seconds)
        if not self.complete:
            for part, known in zip(self._pass.parts, saved["parts"], strict=True):
                part.restore(known)
            self._pass.reread(self.progress.chunks)
        self.figures = saved["figures"]

    def _save(self) -> None:
        self.figures = {part.name: part.figures() for part in self._pass.parts}
        if self._folder is None or not self._first:
            return
        state = {
            "identity": self._identity,
            "progress": asdict(self.progress),
            "parts": [part.state() for part in self._pass.parts],
            "figures": self.figures,
        }
        save_state(self._folder / "state.safetensors", state)


def identity(
    scoring: AdaptivePass,
    model: LanguageModel,
    settings: Any,
    document_start: int,
    target_bytes: TargetBytes,
) -> str:
    """A hash of model, settings, and the tokens scored with their bytes: what must be equal to go on."""
    sizes = [asdict(model.config), asdict(settings), document_start, scoring.targets]
    digest = hashlib.sha256(json.dumps(sizes).encode())
    for low in range(0, scoring.targets + 1, PIECE):
        high = min(low + PIECE, scoring.targets + 1)
        digest.update(np.asarray(scoring.tokens[low:high], "<i8").tobytes())
        digest.update(np.asarray(target_bytes(max(low, 1), high), "<i8").tobytes())
    for name, tensor in sorted(model_state(model).items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
