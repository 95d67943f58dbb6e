"""Depth compaction: the tokens of a batch that a layer works on, gathered once and scattered back."""

from functools import cached_property

import torch
from torch import Tensor


class Rows:
    """A subset of the B·T tokens of a batch, in order; all of them when `index` is None.

    Grids are flat: shape (B·T, …), token t of batch row b at b·T + t.
    """

    def __init__(
        self,
        positions: Tensor,
        index: Tensor | None = None,
        each: int | None = None,
        running: Tensor | None = None,
    ):
        """A subset.

        Args:
            positions: (B, T) int64 in the sequence.
            index: (n,) int64 ascending grid rows, or None.
            each: tokens of every batch row, where all have as many: nothing is counted then, so that no
                shape waits for a device.
            running: (B·T,) bool, the subset as a mask instead: it takes every token, and puts those.
        """
        self.grid_positions, self.index, self._running = positions, index, running
        self._each = positions.shape[1] if index is None else each
        if index is not None and each is None:
            self._pack(index)

    @property
    def count(self) -> int:
        """n, the tokens in the subset."""
        return self.grid_positions.numel() if self.index is None else len(self.index)

    @cached_property
    def positions(self) -> Tensor:
        """(n,) position of every token in its sequence."""
        return self.take(self.grid_positions.flatten())

    @cached_property
    def packed_positions(self) -> Tensor:
        """(B, T') positions as :meth:`pack` orders them; padding repeats the row's last one."""
        packed = self.pack(self.positions)
        return packed if self._each is not None else packed.cummax(1).values

    def sequences(self) -> list[Tensor]:
        """(1, T_b) positions of the subset's tokens of every batch row b."""
        batch, length = self.grid_positions.shape
        if self.index is None or self._each is not None:
            return list(self.packed_positions.split(1))
        counts = torch.bincount(self.index // length, minlength=batch).tolist()
        return list(self.positions[None].split(counts, dim=1))

    def take(self, grid: Tensor) -> Tensor:
        """(n, …) rows of a grid."""
        return grid if self.index is None else _Take.apply(grid, self.index)

    def put(self, grid: Tensor, values: Tensor) -> Tensor:
        """The grid with the subset's rows replaced by `values` (n, …); the other rows keep their bits."""
        if self._running is not None:
            running = self._running.view(-1, *[1] * (grid.dim() - 1))
            return torch.where(running, values.to(grid.dtype), grid)
        return values if self.index is None else grid.index_copy(0, self.index, values.to(grid.dtype))

    def keep(self, kept: Tensor, each: int | None = None) -> "Rows":
        """The subset's tokens `kept` (m,) int64, ascending; `each` of every row, if all keep as many."""
        index = kept if self.index is None else self.index.index_select(0, kept)
        return Rows(self.grid_positions, index, each)

    def mask(self, stay: Tensor) -> "Rows":
        """`keep` of the tokens in `stay` (B·T,) bool, in shapes that do not depend on how many they are.

        What takes no token less works on all of them, and only the kept ones' values are put.
        """
        running = stay if self._running is None else self._running & stay
        return Rows(self.grid_positions, running=running)

    def pack(self, values: Tensor) -> Tensor:
        """(n, …) to (B, T', …): each batch row's tokens in front, zeros behind; T' is the longest row's."""
        batch = len(self.grid_positions)
        if self._each is not None:
            return values.view(batch, self._each, *values.shape[1:])
        packed = values.new_zeros(batch * self._length, *values.shape[1:])
        return packed.index_copy(0, self._slot, values).view(batch, self._length, *values.shape[1:])

    def unpack(self, packed: Tensor) -> Tensor:
        """The inverse of :meth:`pack`."""
        flat = packed.flatten(0, 1)
        return flat if self._each is not None else _Take.apply(flat, self._slot)

    def _pack(self, index: Tensor) -> None:
        batch, length = self.grid_positions.shape
        row = index // length
        per_row = torch.bincount(row, minlength=batch)
        start = per_row.cumsum(0) - per_row
        self._length = int(per_row.max())
        self._slot = row * self._length + torch.arange(len(index), device=index.device) - start[row]


class _Take(torch.autograd.Function):
    """Rows of a grid, each at most once: its gradient is a copy, where that of indexing adds up."""

    @staticmethod
    def forward(ctx, grid, index):
        ctx.save_for_backward(index)
        ctx.shape = grid.shape
        return grid.index_select(0, index)

    @staticmethod
    def backward(ctx, grad):  # pyrefly: ignore[bad-override]
        return grad.new_zeros(ctx.shape).index_copy(0, *ctx.saved_tensors, grad), None


def rolled(grid: Tensor, shift: Tensor) -> Tensor:
    """Every row of (B, T, …) turned by its own shift (B,), modulo T: valid tokens change sides."""
    length = grid.shape[1]
    index = (torch.arange(length, device=grid.device) - shift[:, None].to(grid.device)) % length
    return grid[torch.arange(len(grid), device=grid.device)[:, None], index]
