"""Causal Toeplitz mixing of the tokens of a sequence, whole or in pieces."""

from typing import Literal

import torch
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.toeplitz_choices import Bias, Init
from tmt.layers.toeplitz_direct import Filter, direct
from tmt.layers.toeplitz_kernel import ExpSumKernel, Kernel
from tmt.layers.toeplitz_relaxed import relaxed
from tmt.layers.toeplitz_state import state
from tmt.ops.precision import at_least_float32
from tmt.ops.toeplitz import toeplitz_flops, toeplitz_impl

Decode = Literal["direct", "relaxed", "state"]


class ToeplitzConvolution(nn.Module):
    """``y[t] = Σ_k w[k] x[t−k] (/ Σ_{k≤t} w[k]) + b`` with one kernel per head, shared by its D channels.

    The bias is one number per position and head, per channel, or absent; positions beyond the trained ones
    use the last.
    """

    def __init__(
        self,
        kernel: Kernel,
        width: int,
        *,
        bias: Bias,
        mean: bool,
        endless: bool,
        decode: Decode,
        impl: str | None = None,
    ):
        """Args:
        kernel: of H heads.
        width: D, channels per head.
        bias: see above.
        mean: divide by the sum of the taps that were used.
        endless: continue the kernel beyond its trained taps by its formula.
        decode: what is remembered between calls.
        impl: path of the Toeplitz product; None: the fastest.
        """
        super().__init__()
        self.kernel, self.mean, self.endless, self.decode, self.impl = kernel, mean, endless, decode, impl
        heads, _, length = kernel.shape
        self.bias = None
        if bias != "none":
            self.bias = nn.Parameter(torch.zeros(heads, length if bias == "position" else width))
        self.by_position, self.width = bias == "position", width

    def forward(self, x: Tensor, cache: Cache, last: bool = False) -> Tensor:
        """(B, T, H, D) to (B, T, H, D), or to (B, 1, H, D) for each row's last valid token if `last`.

        Autocast has no effect; what is added up is added up in float32 at least, but for remembered inputs
        in half precision, which keep it.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._mixed(x, cache, last)

    def taps(self, length: int) -> Tensor:
        """The first `length` taps (H, K, ≤ length)."""
        return self.kernel(length if self.endless else min(length, self.kernel.length))

    def flops(self, length: int) -> int:
        """Operations for one whole sequence of `length` tokens."""
        heads, shifts, taps = self.taps(length).shape
        return toeplitz_flops(1, length, heads, shifts, self.width, self._impl(length), taps)

    def ops(self) -> dict[str, str]:
        """The paths taken for sequences of the trained length, and between calls."""
        length = self.kernel.length
        return {"toeplitz": f"{self._impl(length)} at {length}", "decoding": self.decode}

    def initialise(self, init: Init) -> None:
        """Draw the kernel; the bias is zero."""
        self.kernel.initialise(init)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _impl(self, length: int) -> str:
        taps = self.taps(length)
        x = taps.new_empty(1, length, taps.shape[0], self.width)
        return self.impl or toeplitz_impl(x, taps, self.kernel.positive)

    def _mixed(self, x: Tensor, cache: Cache, last: bool) -> Tensor:
        if cache.padded:
            x = x.masked_fill(~cache.valid()[..., None, None], 0)
        span = None if self.endless else self.kernel.length
        filter = Filter(self.taps, span, self.impl, growing=self.kernel.positive)
        if self.decode == "state":
            assert isinstance(self.kernel, ExpSumKernel)
            y = state(x, filter, self.kernel, cache, last)
        else:
            y = (direct if self.decode == "direct" else relaxed)(x, filter, cache, last)
        positions: Tensor | int = cache.positions
        if last:
            rows = torch.arange(len(x), device=x.device)
            positions = cache.positions[rows, cache.new - 1][:, None]
            y = y if y.shape[1] == 1 else y[rows, cache.new - 1][:, None]
        elif cache.fresh:
            positions = x.shape[1]
        return self._finished(y, positions, cache).to(x.dtype)

    def _finished(self, y: Tensor, positions: Tensor | int, cache: Cache) -> Tensor:
        """Divide, and add the bias, at `positions` (B, T), or at the first so many."""
        if self.mean:
            reach = positions if isinstance(positions, int) else cache.reach
            sums = at_least_float32(self.taps(reach).sum(1)).cumsum(-1)
            y = y / _at(sums, positions)
        if self.bias is None:
            return y
        return y + (_at(self.bias, positions) if self.by_position else self.bias)


def _at(values: Tensor, positions: Tensor | int) -> Tensor:
    """(H, n) values at positions (B, T), or the first T, as (B or 1, T, H, 1); the last one beyond n."""
    if isinstance(positions, int):
        if positions <= values.shape[1]:
            return values[:, :positions].T[None, :, :, None]
        positions = torch.arange(positions, device=values.device)[None]
    return values[:, positions.clamp(max=values.shape[1] - 1)].permute(1, 2, 0)[..., None]
