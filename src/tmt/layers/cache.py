"""The decoding state: what a model remembers of the tokens before a call, as a flat tuple of tensors.

A state is ``(lengths, tensor, tensor, …)``: the tokens seen per batch row (B,) int64, then the layers'
tensors in the order in which the forward pass asks for them. The first call that goes on from a state writes
into its buffers, behind what they hold; every later one works on a copy of them, so that a text can branch.

Buffers are as long as the text so far, and grow. With a `capacity` they keep that length, and a call reads
them whole, writing in place every time: what lies beyond a row's tokens is masked by the tokens' positions,
which the device alone knows. No shape and no path depends then on how much was read, so that a call can be
captured in a CUDA graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.ops.mesh import block_means


class State(tuple[Tensor, ...]):
    """What a call returns to go on from, once or several times."""

    lent = False
    """Whether a call has gone on from it already."""

    @staticmethod
    def borrow(state: "tuple[Tensor, ...] | None") -> tuple[Tensor, ...]:
        """The tensors to go on with, for writing: the state's own the first time, copies from then on.

        A tuple that no call returned is copied, for nothing is known of who else has its tensors.
        """
        if state is None:
            return ()
        if isinstance(state, State) and not state.lent:
            state.lent = True
            return state
        return tuple(tensor.clone() for tensor in state)


class Cache:
    """One forward call's view of the state: old tensors are taken in order, new ones collected in order."""

    def __init__(
        self,
        tokens: Tensor,
        state: tuple[Tensor, ...] | None,
        lengths: Tensor | None,
        keep: bool,
        capacity: int | None = None,
    ):
        """A view of a state.

        Args:
            tokens: (B, T).
            state: what an earlier call left.
            lengths: (B,) valid tokens per row, the rest being padding (default: T).
            keep: whether a state is wanted of this call.
            capacity: see above; for one more token (B, 1) of rows that have read fewer than so many.
        """
        batch, length = tokens.shape
        self.fixed = capacity is not None
        """Whether no shape depends on how much was read."""
        if self.fixed and (state is None or length != 1 or lengths is not None):
            raise InputError("a capacity is for one more token a row, after a state")
        device = tokens.device
        past = torch.zeros(batch, dtype=torch.long, device=device) if state is None else state[0]
        if past.shape[0] != batch:
            raise InputError(f"the state has {past.shape[0]} rows, the tokens have {batch}")
        self.new = past.new_full((batch,), length) if lengths is None else lengths.to(past)
        self.padded = lengths is not None
        if lengths is not None and not 1 <= int(lengths.min()) <= int(lengths.max()) <= length:
            raise InputError(f"lengths {lengths.tolist()} must be in [1, {length}], the tokens of each row")
        self.past = past
        self.positions = past[:, None] + torch.arange(length, device=device)
        if capacity is not None:
            self.reach = capacity
        else:
            self.reach = length if state is None else int(past.max()) + length
        self.keep = keep
        self.fresh = state is None
        self.work: list[Callable[[], int]] = []
        """Counters of the operations that the layers ran and that depend on what was remembered."""
        self._old = iter((state or ())[1:] if self.fixed else State.borrow(state)[1:])
        self._kept: list[Tensor] = []
        self._row = torch.arange(batch, device=device)[:, None]

    def valid(self) -> Tensor:
        """(B, T) bool: the tokens that are no padding."""
        return self.positions < (self.past + self.new)[:, None]

    @property
    def kept(self) -> bool:
        """Whether anything is remembered of the tokens."""
        return bool(self._kept)

    def state(self) -> State:
        """The state after this call."""
        return State((self.past + self.new, *self._kept))

    def append(self, grid: Tensor) -> Tensor:
        """Store (B·T, …) at the tokens' positions; returns (B, S, …), all that is stored so far."""
        new = grid.view(*self.positions.shape, *grid.shape[1:])
        if self.fresh and not self.keep:
            return new
        buffer = self._buffer(new, self.reach)
        write = buffer.index_put if torch.is_grad_enabled() else buffer.index_put_
        buffer = write((self._row, self.positions), new.to(buffer.dtype))
        self._kept.append(buffer)
        return buffer[:, : self.reach]

    @torch.no_grad()
    def block_means(self, rows: Tensor, block: int) -> Tensor:
        """Means (B, S // block, R) of the blocks of `block` rows of stored (B, S, R); old ones are kept."""
        if self.fixed:
            return self._own_block_mean(rows, block)
        count = self.reach // block
        if self.fresh and not self.keep:
            return block_means(rows, block, 0, count)
        buffer = self._buffer(rows, count)
        first = 0 if self.fresh else int(self.past.min()) // block
        buffer[:, first:count] = block_means(rows, block, first, count - first)
        self._kept.append(buffer)
        return buffer[:, :count]

    def _own_block_mean(self, rows: Tensor, block: int) -> Tensor:
        """`block_means`, where every row's newest block alone is averaged: the token may complete it."""
        own = self.positions // block
        index = own * block + torch.arange(block, device=rows.device)
        members = rows[self._row, index.clamp(max=self.reach - 1)]
        buffer = self._buffer(rows, -(-self.reach // block))
        buffer.index_put_((self._row, own), block_means(members, block, 0, 1))
        self._kept.append(buffer)
        return buffer

    def opened(self, dtype: torch.dtype, length: int | None = None) -> Tensor:
        """The old state's next tensor in one piece and that type, for the caller to change in place.

        With a length it is a buffer (B, ≥ length, …), to be written behind what it holds.
        """
        tensor = next(self._old).clone() if length is None else self._grown(length)
        self._kept.append(tensor.to(dtype).contiguous())
        return self._kept[-1]

    def tail(self, grid: Tensor, width: int) -> Tensor:
        """The `width` positions before a grid (B·T, D), zeros where there were none: (B, width, D)."""
        new = grid.view(*self.positions.shape, -1)
        tail = new.new_zeros(len(new), width, new.shape[2]) if self.fresh else next(self._old).to(new.dtype)
        if self.keep:
            last = self.new[:, None] + torch.arange(-width, 0, device=new.device)  # negative: in the tail
            before, since = tail[self._row, last.clamp(max=-1)], new[self._row, last.clamp(min=0)]
            self._kept.append(torch.where((last < 0)[..., None], before, since))
        return tail

    def remembered(self, make: Callable[[], Tensor]) -> Tensor:
        """(1 or B, …) as the first call made it, the same in every later call."""
        if not self.fresh:
            self._kept.append(next(self._old))
            return self._kept[-1]
        value = make()
        if self.keep:
            value = value.expand(len(self.past), *value.shape[1:])
            self._kept.append(value)
        return value

    def carried(self, start: Tensor) -> tuple[Tensor, Callable[[Tensor], None]]:
        """A tensor handed from call to call: the old state's, or `start`; and where to put the next one."""
        value = start if self.fresh else next(self._old)
        slot = len(self._kept)
        self._kept.append(value)

        def put(new: Tensor) -> None:
            self._kept[slot] = new

        return value, put

    def _buffer(self, like: Tensor, length: int) -> Tensor:
        """The old state's next buffer (B, ≥ length, …), or a new one; it is doubled, or has the capacity."""
        if self.fresh:
            return like.new_zeros(like.shape[0], length, *like.shape[2:])
        return self._grown(length)

    def _grown(self, length: int) -> Tensor:
        buffer = next(self._old)
        missing = length - buffer.shape[1]
        if missing <= 0:
            return buffer
        room = missing if self.fixed else max(missing, buffer.shape[1])
        return torch.cat([buffer, buffer.new_zeros(buffer.shape[0], room, *buffer.shape[2:])], 1)
