"""Causal Toeplitz products of inputs that arrive in pieces, by remembering the inputs: O(d t) a token."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.ring import Ring
from tmt.ops.toeplitz import channel_sum, toeplitz, toeplitz_flops, toeplitz_impl


@dataclass(frozen=True)
class Filter:
    """A kernel and the way to apply it to many tokens at once."""

    taps: Callable[[int], Tensor]
    """The first taps (H, K, ≤ n)."""
    span: int | None
    """Taps that there are; None: no end."""
    impl: str | None
    """Path of the Toeplitz product; None: the fastest."""
    growing: bool
    """Whether outputs grow along a text, as with positive taps; see :func:`tmt.ops.toeplitz.toeplitz`."""

    def whole(self, x: Tensor, cache: Cache, last: bool = False) -> Tensor:
        """Outputs for x (B, T, H, D) with nothing before it; of each row's last token alone if asked."""
        kernel = self.taps(x.shape[1])
        if last and x.shape[1] > 1:
            lags = (cache.new - 1)[:, None] - torch.arange(x.shape[1], device=x.device)
            return newest_output(x.transpose(1, 2), kernel, lags, cache)
        return self._product(x, kernel, cache)

    def after(self, past: Tensor, x: Tensor, cache: Cache) -> Tensor:
        """Outputs for x (B, T, H, D) after the inputs `past` (B, h, H, D)."""
        seen = torch.cat([past.to(x.dtype), x], 1)
        return self._product(seen, self.taps(seen.shape[1]), cache)[:, past.shape[1] :]

    def remembered(self, cache: Cache) -> "Filter":
        """The same with its taps made once, by the first call; a kernel without end is made when needed."""
        if self.span is None:
            return self
        taps = cache.remembered(lambda: self.taps(self.span or 0)[None])[0]
        return replace(self, taps=lambda length: taps[..., :length])

    def _product(self, x: Tensor, kernel: Tensor, cache: Cache) -> Tensor:
        impl = self.impl or toeplitz_impl(x, kernel, self.growing)
        batch, length, heads, width = x.shape
        sizes = (batch, length, heads, kernel.shape[1], width)
        cache.work.append(partial(toeplitz_flops, *sizes, impl, kernel.shape[2]))
        return toeplitz(x, kernel, impl, self.growing)


def direct(x: Tensor, filter: Filter, cache: Cache, last: bool) -> Tensor:
    """Outputs (B, T, H, D) for inputs x (B, T, H, D), zero at padding; (B, 1, H, D) if `last` can be used."""
    if cache.fresh and not cache.keep:
        return filter.whole(x, cache, last)
    ring, filter = Ring(x, cache, filter.span), filter.remembered(cache)
    if cache.fresh:
        ring.write(x)
        return filter.whole(x, cache, last)
    if x.shape[1] > 1:
        output = filter.after(ring.past(), x, cache)
        ring.write(x)
        return output
    ring.write(x)
    kernel = filter.taps(ring.filled)
    return newest_output(ring.buffer[:, :, : ring.filled], kernel, ring.lags(), cache).to(x.dtype)


def newest_output(inputs: Tensor, kernel: Tensor, lags: Tensor, cache: Cache) -> Tensor:
    """The product at one position (B, 1, H, D), a dot product over time.

    Args:
        inputs: (B, H, S, D) in any order.
        kernel: (H, K, n); inputs further away than its taps count nothing.
        lags: (B, S) distance of every input from that position; negative ones count nothing.
        cache: where the work is counted.
    """
    last = kernel.shape[2] - 1
    heard = (lags >= 0) & (lags <= last)
    weights = kernel[..., lags.clamp(0, last)].permute(2, 0, 1, 3) * heard[:, None, None]
    (batch, heads, length, width), shifts = inputs.shape, kernel.shape[1]
    cache.work.append(lambda: 2 * batch * heads * shifts * length * width)
    return channel_sum(weights.to(inputs.dtype) @ inputs)[:, None]
