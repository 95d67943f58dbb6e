"""An op under the clock: how it is called, what it is compared with, and what it must equal first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tmt.bench.parity import TOLERANCE, relative_errors, require_small
from tmt.bench.series import DTYPES, Direction, Pair, Precision, Series, Settings

Parts = dict[str, Tensor]
"""The tensors that an op reads, by name; those of a floating type are differentiated."""
Call = Callable[[Parts], Tensor]

DIRECTIONS: tuple[Direction, ...] = ("forward", "forward_backward")


@dataclass(frozen=True)
class Op:
    """One entry of the registry of ops."""

    name: str
    choice: Callable[[Parts], str]
    """The implementation that `ours` chooses for such tensors."""
    draw: Callable[[int, int, torch.dtype, torch.device], Parts]
    """What it reads for (batch, length, dtype, device)."""
    ours: Call
    peer_name: str
    peer: Call
    peer_parts: Callable[[Parts], Parts]
    """The same problem in the peer's own layout."""
    draw_small: Callable[[torch.dtype, torch.device], Parts]
    """A problem small enough for the reference, yet one that takes every path."""
    ours_small: Call
    reference: Call

    def series(self, settings: Settings) -> Iterator[Series]:
        """Both directions, in every number format."""
        for dtype in settings.dtypes:
            for direction in DIRECTIONS:
                yield Series(
                    name=self.name,
                    impl=self.impl(dtype, settings.device),
                    peer=self.peer_name,
                    direction=direction,
                    dtype=dtype,
                    at=partial(self._pair, direction, dtype, settings),
                    check=partial(self.check, direction, dtype, settings.device),
                )

    def impl(self, dtype: Precision, device: torch.device) -> str:
        """The implementation that runs for tensors of that type on that device."""
        return self.choice(self.draw_small(DTYPES[dtype], device))

    def check(self, direction: Direction, dtype: Precision, device: torch.device) -> None:
        """InputError where the op is not equal to its reference."""
        what = f"{self.name} ({self.impl(dtype, device)}, {dtype}, {direction})"
        require_small(what, self.errors(direction, dtype, device), TOLERANCE[DTYPES[dtype]])

    def errors(self, direction: Direction, dtype: Precision, device: torch.device) -> dict[str, float]:
        """Relative to the reference in float32, by tensor; of gradients too if they are timed."""
        parts = self.draw_small(DTYPES[dtype], device)
        exact = {n: part.float() if part.is_floating_point() else part for n, part in parts.items()}
        actual = _prepared(direction, self.ours_small, parts)()
        expected = _prepared(direction, self.reference, exact)()
        return relative_errors(actual, expected)

    def _pair(self, direction: Direction, dtype: Precision, settings: Settings, length: int) -> Pair:
        parts = self.draw(settings.batch, length, DTYPES[dtype], settings.device)
        ours = _prepared(direction, self.ours, parts)
        peer = _prepared(direction, self.peer, self.peer_parts(parts))
        return Pair(ours, peer, tokens=settings.batch * length)


def _prepared(direction: Direction, call: Call, parts: Parts) -> Callable[[], Parts]:
    """What is timed: the output, and if asked the gradients of the floating parts for a fixed one of it."""

    @torch.no_grad()
    def forward() -> Parts:
        return {"output": call(parts)}

    if direction == "forward":
        return forward
    leaves = {n: part.detach().requires_grad_() for n, part in parts.items() if part.is_floating_point()}
    sample = forward()["output"]
    upstream = torch.linspace(-1, 1, sample.numel()).to(sample).view_as(sample)

    def forward_backward() -> Parts:
        output = call(parts | leaves)
        found = torch.autograd.grad(output, list(leaves.values()), upstream)
        return {"output": output} | {f"gradient of {n}": g for n, g in zip(leaves, found, strict=True)}

    return forward_backward
