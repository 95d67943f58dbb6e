"""Walk parts through a stream as a pass does, with a small causal model made of two random tables."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmt.adaptive.part import Block, Chunk, Part

VOCAB, WIDTH = 23, 8


class Together:
    """Ranks that are threads of one process."""

    def __init__(self, size: int):
        self.met = Barrier(size, timeout=60)
        self.said: list[Tensor | None] = [None] * size


class OneOf:
    """One of them."""

    device = torch.device("cpu")

    def __init__(self, all: Together, rank: int):
        self._all, self._rank = all, rank

    def sum(self, tensor: Tensor) -> Tensor:
        self._all.said[self._rank] = tensor.clone()
        self._all.met.wait()
        total = torch.stack([said for said in self._all.said if said is not None]).sum(0)
        self._all.met.wait()
        return tensor.copy_(total)


def learn_together(learners: Sequence[Any], learn: Callable[[Any, Any], None]) -> None:
    """Let learners learn, each on a rank of its own."""
    ranks = Together(len(learners))
    with ThreadPoolExecutor(len(learners)) as threads:
        done = [threads.submit(learn, x, OneOf(ranks, rank)) for rank, x in enumerate(learners)]
    for each in done:
        each.result()


def random_stream(count: int, seed: int = 0) -> np.ndarray:
    """Ids (count,) that repeat themselves now and then."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCAB, count)
    for start in range(20, count - 10, 25):
        source = random.integers(0, start - 8)
        ids[start : start + 8] = ids[source : source + 8]
    return ids


def log_probs(ids: np.ndarray) -> Tensor:
    """Distributions (n, VOCAB) that depend on the latest token."""
    logits = 2 * torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(1))
    return logits[torch.from_numpy(ids)].log_softmax(1)


def states(ids: np.ndarray) -> Tensor:
    """States (n, WIDTH) that depend on all tokens so far, the latest most."""
    table = torch.randn(VOCAB, WIDTH, generator=torch.Generator().manual_seed(2))
    state, found = torch.zeros(WIDTH), []
    for token in ids.tolist():
        state = 0.5 * state + table[token]
        found.append(state)
    return torch.stack(found)


def walk(
    parts: Sequence[Part],
    ids: np.ndarray,
    block: int,
    chunk: int,
    first: int = 0,
    heard: Callable[[np.ndarray], np.ndarray] = lambda targets: targets,
) -> Tensor:
    """The blends (n − 1 − first, VOCAB) of all rows from position `first`, a chunk's start.

    Args: parts, the same one on each rank; heard, what they are told the targets were.
    """
    given, seen, rows = log_probs(ids), states(ids), []
    count = len(ids) - 1
    for start in range(first, count, chunk):
        end = min(start + chunk, count)
        for low in range(start, end, block):
            high = min(low + block, end)
            cut = [(high - low) * rank // len(parts) for rank in range(len(parts) + 1)]
            targets = torch.from_numpy(heard(ids[low + 1 : high + 1]))
            for part, (a, b) in zip(parts, pairwise(cut), strict=True):
                piece = Block(low, ids[low:high], seen[low:high], slice(a, b))
                rows.append(part.blend(piece, given[low:high][a:b]))
                part.book(piece, targets)
        told = Chunk(start, ids[start : end + 1], end / count, end == count)
        learn_together(parts, lambda part, ranks, told=told: part.learn(told, ranks))
    assert torch.equal(given, log_probs(ids)), "a part changed its input"
    return torch.cat(rows)
