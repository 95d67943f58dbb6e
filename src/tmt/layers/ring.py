"""The latest inputs of a convolution, kept in a ring buffer that grows until it spans the kernel."""

import torch
from torch import Tensor

from tmt.layers.cache import Cache


class Ring:
    """Inputs (B, T, H, D) of every row by position: position p lies in slot p modulo the capacity C.

    What moves with time is the order of the kernel's taps, H·C numbers, not the H·C·D inputs.
    """

    def __init__(self, x: Tensor, cache: Cache, span: int | None):
        """Take the ring out of the state, or begin one in the type of `x` (B, T, H, D).

        Args: span, the inputs that are ever looked at, the newest included; None for all.
        """
        batch, _, heads, width = x.shape
        self._cache, self._span = cache, span
        self.buffer, self._put = cache.carried(x.new_zeros(batch, heads, 0, width))
        """(B, H, C, D)."""

    @property
    def filled(self) -> int:
        """Slots in use, from the first."""
        return min(self.buffer.shape[2], self._cache.reach)

    def past(self) -> Tensor:
        """(B, h, H, D) inputs before this call, aligned at their newest; zeros where a row has fewer."""
        span = self._cache.reach if self._span is None else self._span
        return self._read(min(int(self._cache.past.max()), span - 1), self._cache.past)

    def latest(self, count: int) -> Tensor:
        """(B, count, H, D) newest inputs, those of this call included once they are written."""
        return self._read(count, self._cache.past + self._cache.new)

    def write(self, x: Tensor) -> None:
        """Store the valid tokens of `x` (B, T, H, D)."""
        cache, length = self._cache, x.shape[1]
        capacity = self._grown(cache.reach)
        steps = torch.arange(length, device=x.device)
        if length == 1:
            row, step = torch.arange(len(x), device=x.device), steps
        else:
            stays = (steps < cache.new[:, None]) & (steps >= cache.new[:, None] - capacity)
            row, step = stays.nonzero(as_tuple=True)
        by_slot, new = self.buffer.transpose(1, 2), x[row, step].to(self.buffer.dtype)
        place = (row, cache.positions[row, step] % capacity)
        if torch.is_grad_enabled():
            self.buffer = by_slot.index_put(place, new).transpose(1, 2)
        else:
            by_slot.index_put_(place, new)
        self._put(self.buffer)

    def lags(self) -> Tensor:
        """(B, filled) distance of every slot from its row's newest input; −1 for slots not yet written."""
        newest = (self._cache.past + self._cache.new - 1)[:, None]
        lags = (newest - torch.arange(self.filled, device=newest.device)) % self.buffer.shape[2]
        return lags.masked_fill(lags > newest, -1)

    def _grown(self, reach: int) -> int:
        capacity = self.buffer.shape[2]
        span = reach if self._span is None else self._span
        if capacity < min(reach, span):
            larger = max(reach, 2 * capacity) if self._span is None else min(span, max(reach, 2 * capacity))
            more = list(self.buffer.shape)
            more[2] = larger - capacity
            self.buffer = torch.cat([self.buffer, self.buffer.new_zeros(more)], 2)
        return self.buffer.shape[2]

    def _read(self, count: int, end: Tensor) -> Tensor:
        """(B, count, H, D) inputs at the positions before `end` (B,)."""
        position = end[:, None] + torch.arange(-count, 0, device=end.device)
        slot = position % max(1, self.buffer.shape[2])
        found = self.buffer.transpose(1, 2)[torch.arange(len(end), device=end.device)[:, None], slot]
        return found.masked_fill((position < 0)[..., None, None], 0)
