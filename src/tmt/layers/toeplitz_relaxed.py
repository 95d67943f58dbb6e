"""Causal Toeplitz products token by token at O(d log² n) a token on average, exactly: relaxed convolution.

Outputs to come are kept half made. Whenever the tokens read since the last restart are a multiple of
U = 2^j ≥ 32 (and not of 2U), what the last U of them add to the next U outputs is added to these in one
product (:mod:`tmt.ops.toeplitz.online`); what is left, the inputs since the last multiple of 32, each output
adds itself. So every pair of an input and a later output is met exactly once. A call with many tokens, or the
end of the room for outputs, restarts with one long product and room for as many outputs as inputs are known.
"""

from functools import partial

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.ring import Ring
from tmt.layers.toeplitz_direct import Filter
from tmt.ops.precision import at_least_float32
from tmt.ops.toeplitz import channel_sum
from tmt.ops.toeplitz.online import tile, tile_flops

BLOCK = 32
"""Inputs that an output adds itself at most."""
LEAST_ROOM = 64
"""Outputs to come that are kept at least."""


def relaxed(x: Tensor, filter: Filter, cache: Cache, last: bool) -> Tensor:
    """Outputs (B, T, H, D) for inputs x (B, T, H, D), zero at padding; (B, 1, H, D) if `last` can be used."""
    if cache.fresh and not cache.keep:
        return filter.whole(x, cache, last)
    return _Relaxed(x, filter, cache).read(x)


class _Relaxed:
    """One call's view of what is remembered."""

    def __init__(self, x: Tensor, filter: Filter, cache: Cache):
        batch, _, heads, width = x.shape
        self._filter, self._cache = filter.remembered(cache), cache
        self._ring = Ring(x, cache, filter.span)
        self._outputs, self._put_outputs = cache.carried(
            at_least_float32(x).new_zeros(batch, heads, 0, width)
        )
        self._steps, self._put_steps = cache.carried(cache.past.new_zeros(batch))

    def read(self, x: Tensor) -> Tensor:
        """Outputs for x (B, T, H, D)."""
        step = int(self._steps[0])
        together = bool((self._steps == step).all())
        if x.shape[1] == 1 and together and step < self._outputs.shape[2]:
            return self._step(x, step)
        return self._restart(x)

    def _restart(self, x: Tensor) -> Tensor:
        """One product over all that is known, followed by zeros where the outputs to come will be."""
        past = self._ring.past()
        before, length = past.shape[1], x.shape[1]
        room = LEAST_ROOM
        while room < before + length:
            room *= 2
        blank = x.new_zeros(len(x), room, *x.shape[2:])
        outputs = at_least_float32(self._filter.after(past, torch.cat([x, blank], 1), self._cache))
        index = self._cache.new[:, None] + torch.arange(room, device=x.device)
        rows = torch.arange(len(x), device=x.device)[:, None]
        self._put_outputs(outputs[rows, index].transpose(1, 2).contiguous())
        self._put_steps(torch.zeros_like(self._steps))
        self._ring.write(x)
        return outputs[:, :length].to(x.dtype)

    def _step(self, x: Tensor, step: int) -> Tensor:
        """Finish the output of one token; apply the blocks of inputs that it completes, if any."""
        self._ring.write(x)
        (batch, _, heads, width), outputs, done = x.shape, self._outputs, step + 1
        recent = at_least_float32(self._ring.latest(step % BLOCK + 1).transpose(1, 2))
        taps = at_least_float32(self._filter.taps(recent.shape[2])).flip(2)
        finished = outputs[:, :, step] + channel_sum(taps @ recent[:, :, -taps.shape[2] :])
        size, (_, shifts, added) = done & -done, taps.shape
        self._cache.work.append(lambda: 2 * batch * heads * shifts * added * width)
        if done % BLOCK == 0 and done < outputs.shape[2]:
            block = tile(self._ring.latest(size), self._filter.taps(2 * size)).transpose(1, 2)
            if torch.is_grad_enabled():
                outputs = outputs.clone()
            outputs[:, :, done : done + size] += block
            self._cache.work.append(partial(tile_flops, batch, size, heads, shifts, width))
        self._put_outputs(outputs)
        self._put_steps(self._steps + 1)
        return finished[:, None].to(x.dtype)
