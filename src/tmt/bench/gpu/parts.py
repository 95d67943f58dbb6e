"""What a visit does, part by part, and how long each part may take of eight minutes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tmt.bench.gpu import card, kernels, learning, models, replay
from tmt.bench.gpu.window import WINDOW
from tmt.bench.mesh import MESH
from tmt.bench.series import Settings

CARD = "card"
APART = 25.0
"""Seconds of a part that trains in which it does not: start, tokens, score."""
QUICK_MINUTES = 0.005
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """What a part is told."""

    device: torch.device
    quick: bool
    seconds: float
    """Until it is stopped."""

    def settings(self, lengths: tuple[int, ...], batch: int = 1) -> Settings:
        """Of a table, on models of the size `base`; the smallest of everything where it is to be quick."""
        return Settings(
            lengths=(16,) if self.quick else lengths,
            dtypes=("bf16",),
            batch=1 if self.quick else batch,
            arch=None,
            preset="nano" if self.quick else "base",
            only="",
            seconds=0.0 if self.quick else 1.0,
            device=self.device,
        )


@dataclass(frozen=True)
class Part:
    """One process's work."""

    rows: Callable[[Task], Rows]
    seconds: float | None
    """None: an even part of what the others leave."""


def _mlp(task: Task) -> Rows:
    settings = task.settings((8192, 65536))
    for op in kernels.mlp_paths("bf16", task.device):
        yield from models.op_rows(op, settings)


def _learn(arch: str, task: Task) -> Rows:
    minutes = QUICK_MINUTES if task.quick else max(task.seconds - APART, task.seconds / 4) / 60
    return learning.rows(arch, task.device, minutes, learning.QUICK if task.quick else learning.FULL)


PARTS: dict[str, Part] = {
    CARD: Part(lambda task: card.facts(task.device), 20),
    "parity of the mesh": Part(lambda task: kernels.mesh_rows(task.device), 45),
    "parity of the squared MLP": Part(lambda task: kernels.mlp_rows(task.device), 25),
    "mesh against flash attention": Part(
        lambda task: models.op_rows(MESH, task.settings((1024, 4096, 16384, 65536))), 50
    ),
    "window and anchors against FlexAttention": Part(
        lambda task: models.op_rows(WINDOW, task.settings((1024, 4096, 16384, 65536))), 50
    ),
    "squared MLP against torch": Part(_mlp, 25),
    "training": Part(lambda task: models.rows("train", task.settings((1024,), batch=8)), 60),
    "prefill": Part(lambda task: models.rows("prefill", task.settings((4096,))), 35),
    "decoding": Part(lambda task: models.rows("decode", task.settings((8192,))), 35),
    "decoding, replayed": Part(lambda task: replay.rows(task.settings((8192,))), 25),
    **{f"learning: {arch}": Part(partial(_learn, arch), None) for arch in ("tmt", "transformer", "golf")},
}
"""In this order; the first one names the folder."""
