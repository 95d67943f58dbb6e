"""Causal Toeplitz products from a small state: O(d r) a token, however many came before.

A kernel of s free taps and r damped oscillations (:class:`tmt.layers.toeplitz_kernel.ExpSumKernel`) is the
recurrence ``q_j ← λ_j q_j + x[t−s]``, ``y = Σ_{k<s} w[k] x[t−k] + Re Σ_j c_j q_j`` (Massaroli et al., 2023).
"""

from dataclasses import replace

import torch
from torch import Tensor

from tmt.layers.cache import Cache
from tmt.layers.toeplitz_direct import Filter
from tmt.layers.toeplitz_kernel import ExpSumKernel
from tmt.ops.precision import at_least_float32
from tmt.ops.toeplitz import channel_sum

CHUNK = 1024
"""Tokens that are read at once, so that a long sequence costs O(d r) a token and little memory."""


def state(x: Tensor, filter: Filter, kernel: ExpSumKernel, cache: Cache, last: bool) -> Tensor:
    """Outputs (B, T, H, D) for inputs x (B, T, H, D), zero at padding; (B, 1, H, D) if `last` can be used."""
    if cache.fresh and not cache.keep:
        return filter.whole(x, cache, last)
    return _State(x, filter, kernel, cache).read(x)


class _State:
    """One call's view of what is remembered: s inputs and r complex numbers a channel."""

    def __init__(self, x: Tensor, filter: Filter, kernel: ExpSumKernel, cache: Cache):
        batch, _, heads, width = x.shape
        shifts, rank = kernel.damping.shape[1:]
        self._filter, self._kernel, self._cache = filter, kernel, cache
        self._tail, self._put_tail = cache.carried(x.new_zeros(batch, kernel.head.shape[2], heads, width))
        modes = at_least_float32(x).new_zeros(batch, heads, shifts, width, rank, 2)
        modes, self._put_modes = cache.carried(modes)
        self._modes = torch.view_as_complex(modes)
        one = torch.ones((), device=x.device)
        mode = cache.remembered(lambda: torch.view_as_real(kernel.powers(one))[None])
        self._mode = torch.view_as_complex(mode)[:, :, :, None]

    def read(self, x: Tensor) -> Tensor:
        """Outputs for x (B, T, H, D)."""
        output = self._step(x) if x.shape[1] == 1 else self._read_chunks(x)
        self._put_tail(self._tail)
        self._put_modes(torch.view_as_real(self._modes))
        return output.to(x.dtype)

    def _step(self, x: Tensor) -> Tensor:
        seen = torch.cat([self._tail.to(x.dtype), x], 1)
        self._tail = seen[:, 1:]
        seen = at_least_float32(seen)
        self._modes = self._modes * self._mode + seen[:, 0, :, None, :, None]
        recent = self._kernel.head.flip(2).to(seen.dtype) @ seen[:, 1:].transpose(1, 2)
        far = (self._modes * self._kernel.coefficients()[:, :, None]).sum(-1).real
        work = 12 * self._modes.numel() + 2 * recent.numel() * seen.shape[1]
        self._cache.work.append(lambda: work)
        return channel_sum(recent + far)[:, None]

    def _read_chunks(self, x: Tensor) -> Tensor:
        most = min(CHUNK, x.shape[1])
        powers = self._kernel.powers(torch.arange(most + 1, device=x.device))
        taps = self._filter.taps(self._tail.shape[1] + most)
        self._filter = replace(self._filter, taps=lambda length: taps[..., :length])
        outputs, start = [], 0
        for chunk in x.split(CHUNK, 1):
            count = (self._cache.new - start).clamp(0, chunk.shape[1])
            outputs.append(self._read_chunk(chunk, count, powers))
            start += chunk.shape[1]
        return torch.cat(outputs, 1)

    def _read_chunk(self, x: Tensor, count: Tensor, powers: Tensor) -> Tensor:
        """Outputs for T tokens, of which the first `count` (B,) are valid; powers (H, K, r, > T) of λ."""
        length, head = x.shape[1], self._tail.shape[1]
        output = at_least_float32(self._filter.after(self._tail, x, self._cache))
        fading = self._kernel.coefficients()[..., None] * powers[..., 1 : length + 1]
        output = output + channel_sum(_real_products(self._modes, fading).permute(0, 4, 1, 2, 3))
        seen = torch.cat([self._tail.to(x.dtype), x], 1)
        self._modes = self._advanced(at_least_float32(seen[:, :length]), count, powers)
        rows = torch.arange(len(x), device=x.device)[:, None]
        self._tail = seen[rows, count[:, None] + torch.arange(head, device=x.device)]
        work = 8 * self._modes.numel() * length
        self._cache.work.append(lambda: work)
        return output

    def _advanced(self, delayed: Tensor, count: Tensor, powers: Tensor) -> Tensor:
        """The modes after the first `count` (B,) of the inputs (B, T, H, D), which are s tokens old."""
        length = delayed.shape[1]
        if bool((count == length).all()):
            fading = powers[..., :length].flip(3)[:, :, :, None]
        else:
            left = count[:, None] - 1 - torch.arange(length, device=count.device)
            fading = powers[..., left.clamp(min=0)] * (left >= 0)
        weights = torch.view_as_real(fading.permute(3, 0, 1, 4, 2)).flatten(-2)
        added = delayed.permute(0, 2, 3, 1)[:, :, None] @ weights
        kept = powers[..., count].permute(3, 0, 1, 2)[:, :, :, None]
        return self._modes * kept + torch.view_as_complex(added.unflatten(-1, (-1, 2)))


def _real_products(modes: Tensor, weights: Tensor) -> Tensor:
    """``Re Σ_j q_j e_j`` (B, H, K, D, T) of modes (B, H, K, D, r) and weights (H, K, r, T), both complex."""
    flat = torch.view_as_real(weights.conj().resolve_conj().transpose(2, 3)).flatten(-2)
    return torch.view_as_real(modes).flatten(-2) @ flat.transpose(2, 3)
