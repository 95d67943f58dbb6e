"""What can be seen of a pass from between its parts: distributions, losses, and their order."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tmt.adaptive.audit.training_watch import TrainingWatch
from tmt.adaptive.part import Block, Chunk, Part
from tmt.adaptive.scoring import AdaptivePass
from tmt.training.distributed import Ranks
from tmt.verify.differences import distance


class Witness:
    """Watches one pass over a stream, of N targets, from before its first part to behind its last.

    Its stages are the model and the parts, S in all. Grids (N, S) are float64 on the CPU; NaN stands at
    positions that the pass left out.

    Attributes:
        stages: their names, in order.
        dtype: of the model's weights.
        width: grid of how many probabilities there were.
        mass: grid of the logarithm of their sum.
        touched: grid of the largest change of a log-probability from when it was made to when the parts had
            heard the targets.
        due: grid of the target's negative log-likelihood by these probabilities.
        nats: grid of the losses that the pass gave.
        rows: (kept, S, V) whole distributions, as logarithms.
        order: positions in the order in which they were blended, booked, and given a loss.
        acted: by the name of each part, at how many positions its distributions are others than those it
            was given, and how often it changed the weights.
        training: what was learnt, and when.
    """

    def __init__(self, watched: AdaptivePass, stream: npt.NDArray[np.int64], keep: Sequence[int] = ()):
        """Step between the parts of a pass over that stream; `keep` are the positions of `rows`."""
        self.stages = ["the model", *(part.name for part in watched.parts)]
        spies = [_Spy(self, stage) for stage in range(len(self.stages))]
        pairs = zip(watched.parts, spies[1:], strict=True)
        watched.parts = [spies[0], *(part for pair in pairs for part in pair)]
        self.vocab_size = watched.model.config.vocab_size
        shape = len(stream) - 1, len(self.stages)
        self.width, self.mass, self.touched, self.due, self.nats = torch.full((5, *shape), torch.nan).double()
        self.rows = torch.full((len(keep), len(self.stages), self.vocab_size), torch.nan).double()
        self.order: dict[str, list[int]] = {"blended": [], "booked": [], "scored": []}
        self.acted = dict.fromkeys(self.stages[1:], 0)
        self.training = TrainingWatch(watched.model)
        self.dtype = next(watched.model.parameters()).dtype
        self._pass, self._stream = watched, stream
        self._place = {position: place for place, position in enumerate(keep)}
        self._made: list[tuple[Tensor, Tensor]] = []  # by each stage of this block: the matrix, and a copy

    def watch(self, until: int | None = None) -> "Witness":
        """Let the pass run, to where it has scored all up to position `until` if given; returns itself."""
        with self.training:
            for chunk in self._pass.run():
                span = range(chunk.start, chunk.start + len(chunk.nats))
                self.order["scored"] += span
                self.nats[span.start : span.stop] = torch.from_numpy(chunk.nats[:, 1::2])
                if until is not None and not self.nats[: until + 1].isnan().any():
                    break
        return self

    def blended(self, stage: int, block: Block, log_probs: Tensor) -> None:
        """A stage has made distributions (n, V)."""
        copy = log_probs.clone()
        if stage == 0:
            self.order["blended"] += range(block.start, block.start + len(block.ids))
        else:
            given = self._made[-1][1]
            same = copy.shape == given.shape and (copy == given).all(1)
            self._act(stage, len(copy) - int(torch.as_tensor(same).sum()))
        self._act(stage, int(self.training.look()))
        self._made.append((log_probs, copy))

    def booked(self, stage: int, block: Block) -> None:
        """The parts up to that stage have heard the targets of a block."""
        self._act(stage, int(self.training.look()))
        if stage == 0:
            self.order["booked"] += range(block.start, block.start + len(block.ids))
            self.training.open(len(block.ids))
        if stage == len(self.stages) - 1:
            self._note(block)
            self.training.shut()

    def learnt(self, stage: int) -> None:
        """The parts up to that stage have learnt from a chunk."""
        self._act(stage, int(self.training.look()))
        if stage == 0:
            self.training.open(0)
        if stage == len(self.stages) - 1:
            self.training.shut()

    def _act(self, stage: int, times: int) -> None:
        if stage:
            self.acted[self.stages[stage]] += times

    def _note(self, block: Block) -> None:
        here = slice(block.start, block.start + len(block.ids))
        targets = torch.from_numpy(self._stream[here.start + 1 : here.stop + 1])[:, None]
        for stage, (given, copy) in enumerate(self._made[-len(self.stages) :]):
            self.touched[here, stage] = distance(given, copy).amax(1).cpu().double()
            made = copy.cpu().double()
            self.width[here, stage] = made.shape[1]
            self.mass[here, stage] = made.logsumexp(1)
            self.due[here, stage] = -made.gather(1, targets)[:, 0]
            for position in self._place.keys() & range(here.start, here.stop):
                row = made[position - here.start, : self.vocab_size]
                self.rows[self._place[position], stage, : len(row)] = row
        self._made.clear()


class _Spy(Part):
    """Stands behind a stage."""

    name = "witness"
    reads = "all that passes, and changes nothing"

    def __init__(self, witness: Witness, stage: int):
        self._witness, self._stage = witness, stage

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self._witness.blended(self._stage, block, log_probs)
        return log_probs

    def book(self, block: Block, targets: Tensor) -> None:
        self._witness.booked(self._stage, block)

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self._witness.learnt(self._stage)
