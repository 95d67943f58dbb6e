"""Exact conversion of any kernel into as many modes as it has taps: roots of unity (Qin & Zhong, 2023)."""

import torch
from torch import Tensor

from tmt.convert.state import DiagonalKernel, as_taps


def exact_state(kernel: Tensor) -> DiagonalKernel:
    """The state with n modes on the unit circle that has the n taps of `kernel` (n,), computed in float64.

    The kernel gets one more tap, minus its sum, so that its Fourier coefficient at frequency 0 vanishes;
    the others are the coefficients. The taps repeat with period n + 1, so that they are wrong from k = n
    on, and ⌈n/2⌉ modes are stored, so that a token costs as much as with the kernel itself: this is a
    check of the recurrence, not a way to make it faster. Leaving modes out changes no tap by more than
    the sum of their ``|c|``.

    Raises:
        InputError: if the kernel is not one row of finite real taps.
    """
    taps = as_taps(kernel)
    period = len(taps) + 1
    coefficients = torch.fft.rfft(torch.cat([taps, -taps.sum()[None]]))[1:] / period
    turns = torch.arange(1, len(coefficients) + 1, dtype=torch.float64) / period
    modes = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
    paired = turns < 0.5
    modes[~paired] = -1.0
    return DiagonalKernel(taps[:0], modes, torch.where(paired, 2 * coefficients, coefficients.real))
