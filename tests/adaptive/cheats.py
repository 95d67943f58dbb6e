"""Parts and passes that break the rules of a score, each in its own way."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from tiny_passes import VOCAB, random_tokens
from torch import Tensor

from tmt.adaptive.part import Block, Chunk, Part
from tmt.adaptive.scoring import AdaptivePass, ChunkScore
from tmt.evaluate.windows import Tokens, Window
from tmt.layers.cache import Cache
from tmt.model.base import Hidden, LanguageModel
from tmt.model.transformer import Transformer
from tmt.training.distributed import Ranks

STREAM = random_tokens(150)
STREAM[90] = STREAM[89]
WINDOW = 32


def mixed(log_probs: Tensor, tokens: Tensor, weight: float = 0.1) -> Tensor:
    """Of distributions (n, V) and points (n,)."""
    points = torch.nn.functional.one_hot(tokens, log_probs.shape[1])
    return ((1 - weight) * log_probs.exp() + weight * points).log()


def with_rows(log_probs: Tensor, rows: np.ndarray, hints: np.ndarray) -> Tensor:
    """Some rows with a hint mixed in."""
    made, places = log_probs.clone(), torch.from_numpy(rows)
    made[places] = mixed(log_probs[places], torch.from_numpy(hints))
    return made


class Cheat(Part):
    """Holds what a part has no business with."""

    name, reads = "cheat", "what it must not"

    def __init__(self, model: LanguageModel, tokens: Tokens):
        self.model, self.tokens = model, tokens
        self.sgd = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(self, ids: np.ndarray) -> None:
        row = torch.from_numpy(ids)[None]
        with torch.enable_grad():
            self.loss(row).backward()
        self.sgd.step()
        self.sgd.zero_grad()

    def loss(self, row: Tensor) -> Tensor:
        return self.model(row[:, :-1], targets=row[:, 1:]).loss


class PeeksInTheBlock(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        following = torch.from_numpy(np.append(block.ids[1:], block.ids[-1]))
        return mixed(log_probs, following)


class PeeksAfterOneToken(Cheat):
    """An expert for what follows token 3."""

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        rows = np.flatnonzero(block.ids[:-1] == 3)
        return with_rows(log_probs, rows, block.ids[rows + 1])


class PeeksEverySeventeenth(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        rows = np.flatnonzero((np.arange(len(block.ids) - 1) + block.start) % 17 == 5)
        return with_rows(log_probs, rows, block.ids[rows + 1])


class HintsOnlyWhereRight(Cheat):
    """Says that a token is repeated, where it is."""

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        rows = np.flatnonzero(block.ids[:-1] == block.ids[1:])
        return with_rows(log_probs, rows, block.ids[rows])


class KnowsTheStream(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        counts = np.bincount(self.tokens[0 : len(self.tokens)], minlength=VOCAB)
        return (log_probs + torch.from_numpy(counts).double().log()).log_softmax(1)


class Diverges(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        return log_probs if self.tokens[149:][0] == STREAM[149] else log_probs * torch.nan


class BlendsOneToken(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        latest = torch.from_numpy(block.ids)[:, None]
        return log_probs.scatter(1, latest, log_probs.gather(1, latest) + 0.1)


class Widens(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        return torch.cat([log_probs, log_probs[:, :1] - torch.inf], 1)


class WritesIntoWhatItWasGiven(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        return log_probs.copy_(mixed(log_probs, torch.from_numpy(block.ids)))


class ChangesItsMind(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.made = log_probs.clone()
        return self.made

    def book(self, block: Block, targets: Tensor) -> None:
        self.made.copy_(mixed(self.made, targets))


class TrainsBeforeBooking(Cheat):
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.step(self.tokens[block.start : block.start + WINDOW])
        return log_probs


class WritesWeightsBeforeBooking(Cheat):
    @torch.no_grad()
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.model.embedding.weight.data[block.ids[0]] += 0.01
        return log_probs


class SwapsRows(Cheat):
    @torch.no_grad()
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.model.embedding.weight[:2] = self.model.embedding.weight[:2].flip(0)
        return log_probs


class NegatesATensor(Cheat):
    @torch.no_grad()
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        self.model.embedding.weight.neg_()
        return log_probs


class FillsAConstantTensor(Cheat):
    @torch.no_grad()
    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self.model.embedding.weight.fill_(1)

    @torch.no_grad()
    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        if block.start:
            self.model.embedding.weight.mul_(2)
        return log_probs


class TrainsOnTheNextChunk(Cheat):
    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        after = chunk.start + len(chunk.ids)
        if not chunk.last:
            self.step(self.tokens[after : after + WINDOW])


class TrainsAheadThroughEncode(TrainsOnTheNextChunk):
    def loss(self, row: Tensor) -> Tensor:
        logits = self.model.predict(self.model.encode(row[:, :-1]).flatten(0, 1))
        return torch.nn.functional.cross_entropy(logits, row[0, 1:])


class PeeksInTheStream(Cheat):
    """Of which it looks up every 17th position, whatever the block holds."""

    def blend(self, block: Block, log_probs: Tensor) -> Tensor:
        rows = np.flatnonzero((np.arange(len(block.ids)) + block.start) % 17 == 5)
        return with_rows(log_probs, rows, self.tokens[0 : len(self.tokens)][block.start + rows + 1])


class TrainsOneTokenAhead(Cheat):
    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        after = chunk.start + len(chunk.ids)
        if not chunk.last:
            self.step(self.tokens[after - WINDOW : after + 1])


class BeginsWithTheSeparator(Cheat):
    """Sound: trains on what is booked, behind a token that it did not read."""

    def learn(self, chunk: Chunk, ranks: Ranks) -> None:
        self.step(np.concatenate([[VOCAB - 1], chunk.ids[-WINDOW:]]))


class Idle(Cheat):
    """Does nothing."""


class AddsTheNextRow(Transformer):
    """A model whose code in float32 adds a little of the next row to each."""

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        hidden = super().trunk(tokens, cache, diagnose, last_only)
        share = 0.05 if hidden.states.dtype == torch.float32 else 0
        return Hidden(hidden.states + share * hidden.states.roll(-1, 0), hidden.output)


class ScoresTwice(AdaptivePass):
    def _score(self, group: list[Window]) -> Iterator[np.ndarray]:
        yield from super()._score(group)
        list(super()._score(group))


class KeepsTheBetterOfTwo(AdaptivePass):
    def _book(self, block: Block) -> np.ndarray:
        return np.minimum(super()._book(block), super()._book(block))


class LeavesATargetOut(AdaptivePass):
    def run(self, first: int = 0) -> Iterator[ChunkScore]:
        for chunk in super().run(first):
            yield replace(chunk, nats=chunk.nats[:-1])


class ScoresTheEndFirst(AdaptivePass):
    def run(self, first: int = 0) -> Iterator[ChunkScore]:
        yield from reversed(list(super().run(first)))


class Flatters(AdaptivePass):
    def _book(self, block: Block) -> np.ndarray:
        return super()._book(block) - 0.01
