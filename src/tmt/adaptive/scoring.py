"""The pass: a stream scored once, left to right, by a model and the parts that adapt it."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tmt.adaptive.part import Block, Chunk, Part
from tmt.errors import InputError
from tmt.evaluate.windows import Tokens, Window, batches, check_windows, windows
from tmt.model.base import LanguageModel
from tmt.ops.precision import at_least_float32
from tmt.training.distributed import Ranks

ROWS = 1024
"""Distributions that a rank holds at once."""


@dataclass(frozen=True)
class PassSettings:
    """How a stream is cut."""

    window: int
    """Tokens that the model reads at once."""
    stride: int
    """Targets scored per window after the first; divides the window."""
    chunk: int
    """Targets after which the parts learn; a multiple of the window."""
    batch_size: int = 8
    """Windows at once on each rank."""


@dataclass(frozen=True, eq=False)
class ChunkScore:
    """The losses of one chunk, every target once."""

    index: int
    start: int
    """Position whose successor is the first target."""
    nats: npt.NDArray[np.float64]
    """(n, 1 + parts) negative log-likelihood of each target under the model and after each part in turn."""


class AdaptivePass:
    """One way through a stream; `parts` blend in their order.

    Attributes:
        seconds: time spent by the model and by each part, by name.
        rows: distributions in a block, at most.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokens: Tokens,
        parts: Sequence[Part],
        settings: PassSettings,
        ranks: Ranks,
        targets: int | None = None,
    ):
        """`targets`: score only so many, from the start.

        Raises:
            InputError: the stream is too short, or the settings do not fit it, the model or each other.
        """
        check_windows(tokens, settings.window, settings.stride, model.config)
        if settings.window % settings.stride:
            raise InputError(f"stride={settings.stride} must divide the window of {settings.window} tokens")
        if settings.chunk < 1 or settings.chunk % settings.window:
            raise InputError(f"chunk={settings.chunk} must be a multiple of the window, {settings.window}")
        if settings.batch_size < 1 or (targets is not None and targets < 1):
            raise InputError("the batch size and the limit must be at least 1")
        self.model, self.tokens, self.parts, self.settings, self.ranks = model, tokens, parts, settings, ranks
        self.targets = min(len(tokens) - 1, targets or len(tokens))
        self.chunks = -(-self.targets // settings.chunk)
        self.seconds: dict[str, float] = defaultdict(float)
        self.rows = ROWS * ranks.size
        self._device = next(model.parameters()).device

    def run(self, first: int = 0) -> Iterator[ChunkScore]:
        """Score the chunks from number `first` on; the parts know what came before it."""
        cut = windows(self.targets, self.settings.window, self.settings.stride)
        for index, own in groupby(cut, key=lambda window: _first_scored(window) // self.settings.chunk):
            if index < first:
                continue
            groups = batches(own, self.settings.batch_size * self.ranks.size)
            scored = [nats for group in groups for nats in self._score(group)]
            start = index * self.settings.chunk
            nats = np.concatenate(scored)
            self._learn(index, start, len(nats))
            yield ChunkScore(index, start, nats)

    def reread(self, first: int) -> None:
        """Let restored parts hear the tokens before chunk `first`, a chunk at a time."""
        for start in range(0, first * self.settings.chunk, self.settings.chunk):
            for part in self.parts:
                part.reread(self.tokens[start : start + self.settings.chunk])

    @torch.no_grad()
    def _score(self, group: list[Window]) -> Iterator[npt.NDArray[np.float64]]:
        """The losses of consecutive windows, some rows at a time."""
        self.model.eval()
        with self._timed("model"):
            states = self._states(group)
        start = _first_scored(group[0])
        for low in range(0, len(states), self.rows):
            piece = states[low : low + self.rows]
            ids = self.tokens[start + low : start + low + len(piece)]
            yield self._book(Block(start + low, ids, piece, self._share(len(piece))))

    def _states(self, group: list[Window]) -> Tensor:
        """What the head reads at every scored position (n, D), on every rank."""
        own, before = group[self._share(len(group))], group[: self._share(len(group)).start]
        total, offset = (sum(window.scored for window in some) for some in (group, before))
        states = self.model.head.weight.new_zeros(total, self.model.config.d_model)
        if own:
            ids = np.stack([self.tokens[w.start : w.start + w.length] for w in own])
            grid = self.model.encode(torch.from_numpy(ids).to(self._device))
            scored = torch.cat([row[-w.scored :] for row, w in zip(grid, own, strict=True)])
            states[offset : offset + len(scored)] = scored
        return self.ranks.sum(states)

    def _book(self, block: Block) -> npt.NDArray[np.float64]:
        """Blend, reveal, book: losses (n, 1 + parts)."""
        with self._timed("model"):
            logits = self.model.predict(block.states[block.own])
            stages = [at_least_float32(logits).log_softmax(-1)]
        for part in self.parts:
            with self._timed(part.name):
                stages.append(part.blend(block, stages[-1]))
        low, high = block.start + 1, block.start + 1 + len(block.ids)
        targets = torch.from_numpy(self.tokens[low:high]).to(self._device)
        self.model.check_vocabulary(targets)
        nats = torch.zeros(len(targets), len(stages), dtype=torch.float64, device=self._device)
        wanted = targets[block.own, None]
        nats[block.own] = -torch.cat([stage.gather(1, wanted) for stage in stages], 1).double()
        self.ranks.sum(nats)
        if nats[:, 0].isnan().any():
            raise InputError(
                f"a loss of the model after position {block.start} is not a number: its weights are damaged, "
                "or training at test time diverged; lower its rate"
            )
        for part in self.parts:
            with self._timed(part.name):
                part.book(block, targets)
        return nats.cpu().numpy()

    def _learn(self, index: int, start: int, targets: int) -> None:
        last = index == self.chunks - 1
        share = 1.0 if last else index / (self.chunks - 1)
        chunk = Chunk(start, self.tokens[start : start + targets + 1], share, last)
        for part in self.parts:
            with self._timed(part.name):
                part.learn(chunk, self.ranks)

    def _share(self, count: int) -> slice:
        """This rank's part of so many things in a row."""
        each = -(-count // self.ranks.size)
        low = min(count, each * self.ranks.rank)
        return slice(low, min(count, low + each))

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started


def _first_scored(window: Window) -> int:
    return window.start + window.length - window.scored
