"""Kernels of causal Toeplitz mixing: how the taps w[k], k = 0 … n−1, come from their parameters.

A kernel holds H heads of K channel shifts (see :mod:`tmt.ops.toeplitz`); calling it gives its first taps. All
start near the identity, which is the tap k = 0 of the unshifted channel, unless they are drawn as the weights
of a linear layer with n inputs would be (He et al., 2015).
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.layers.decay import inverse_softplus
from tmt.layers.toeplitz_choices import Init

NOISE = 0.02
"""Euclidean length of the noise on a kernel that starts as the identity."""


class Kernel(nn.Module, ABC):
    """Taps (H, K, n)."""

    positive = False
    """Whether every tap is above zero, so that their sums grow and can divide."""
    endless = False
    """Whether the formula gives taps at every lag, beyond the trained length too."""

    def __init__(self, heads: int, shifts: int, length: int):
        super().__init__()
        self.shape = (heads, shifts, length)

    @property
    def length(self) -> int:
        """n, the trained taps."""
        return self.shape[2]

    @abstractmethod
    def forward(self, length: int) -> Tensor:
        """The first `length` taps (H, K, length); no more than n where the formula ends there."""

    def initialise(self, init: Init) -> None:
        """Draw the parameters."""


class RawKernel(Kernel):
    """The taps themselves."""

    def __init__(self, heads: int, shifts: int, length: int):
        super().__init__(heads, shifts, length)
        self.weight = nn.Parameter(torch.empty(self.shape))

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        return self.weight[..., :length]

    def initialise(self, init: Init) -> None:
        """See :class:`Kernel`."""
        _draw(self.weight, init)
        if init == "identity":
            with torch.no_grad():
                self.weight.add_(_identity(self.weight))


class DeltaKernel(RawKernel):
    """The identity plus trained taps."""

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        taps = super().forward(length)
        return taps + _identity(taps)

    def initialise(self, init: Init) -> None:
        """See :class:`Kernel`."""
        _draw(self.weight, init)


class SoftplusKernel(RawKernel):
    """``softplus(θ)``: positive taps. At the start 1 for the token itself and 1/n for each before it."""

    positive = True

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        return F.softplus(super().forward(length))

    def initialise(self, init: Init) -> None:
        """See :class:`Kernel`."""
        _draw(self.weight, init)
        if init == "identity":
            start = torch.full(self.shape, 1 / self.length)
            with torch.no_grad():
                self.weight.add_(inverse_softplus(start.clamp(min=1e-6) + _identity(start)))


class DecayKernel(RawKernel):
    """``θ[k] λ^k`` with one λ = σ(ρ) per head, θ[n−1] beyond the trained taps (after Qin et al., 2023).

    The heads' half-lives start at n/2, n/4, …
    """

    endless = True

    def __init__(self, heads: int, shifts: int, length: int):
        super().__init__(heads, shifts, length)
        self.rate = nn.Parameter(torch.empty(heads))

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        lags = torch.arange(length, device=self.weight.device)
        scale = torch.exp(F.logsigmoid(self.rate)[:, None] * lags)
        return self.weight[..., lags.clamp(max=self.length - 1)] * scale[:, None]

    def initialise(self, init: Init) -> None:
        """See :class:`Kernel`."""
        super().initialise(init)
        half_lives = (self.length / 2 ** torch.arange(1, len(self.rate) + 1)).clamp(min=1.0)
        with torch.no_grad():
            self.rate.copy_(torch.logit(2 ** (-1 / half_lives)))


class ExpSumKernel(Kernel):
    """`head` free taps, then a sum of r damped oscillations: ``w[k] = Re Σ_j c_j λ_j^(k−s)`` for k ≥ s.

    ``λ_j = exp(−softplus(α_j) + i ω_j)``, so |λ_j| < 1. Such a kernel is the impulse response of a diagonal
    state of r numbers: it can be applied token by token at constant cost (Massaroli et al., 2023).
    """

    endless = True

    def __init__(self, heads: int, shifts: int, length: int, rank: int, head: int):
        super().__init__(heads, shifts, length)
        self.head = nn.Parameter(torch.empty(heads, shifts, head))
        self.damping = nn.Parameter(torch.empty(heads, shifts, rank))
        self.frequency = nn.Parameter(torch.empty(heads, shifts, rank))
        self.coefficient = nn.Parameter(torch.empty(heads, shifts, rank, 2))

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        head = self.head.shape[2]
        powers = self.powers(torch.arange(max(0, length - head), device=self.head.device))
        tail = (self.coefficients()[..., None] * powers).real.sum(2)
        return torch.cat([self.head[..., :length], tail.to(self.head.dtype)], -1)

    def powers(self, exponents: Tensor) -> Tensor:
        """``λ^e`` (H, K, r, …) complex for exponents (…); e ω is taken in float64, where phases keep."""
        log = torch.complex(-F.softplus(self.damping.double()), self.frequency.double())
        powers = torch.exp(log.view(*log.shape, *(1,) * exponents.dim()) * exponents)
        return powers.to(self.coefficients().dtype)

    @torch.no_grad()
    def assign(self, head: int, shift: int, taps: Tensor, modes: Tensor, coefficients: Tensor) -> None:
        """Set one kernel to `taps` (s,), then ``Re Σ_j c_j λ_j^k`` of up to r modes and coefficients (m,)."""
        place = (head, shift, slice(len(modes)))
        for parameter in (self.damping, self.frequency, self.coefficient):
            parameter[head, shift] = 0
        self.head[head, shift] = taps.to(self.head)
        rate = -modes.abs().clamp(1e-30, 1 - 1e-12).log()
        self.damping[place] = inverse_softplus(rate).to(self.damping)
        self.frequency[place] = modes.angle().to(self.frequency)
        self.coefficient[place] = torch.view_as_real(coefficients).to(self.coefficient)

    def coefficients(self) -> Tensor:
        """c (H, K, r) complex."""
        return torch.view_as_complex(self.coefficient)

    def initialise(self, init: Init) -> None:
        """Time constants from 2 tokens to n, frequencies from 0 to π, small coefficients."""
        _draw(self.head, init)
        rank = self.damping.shape[2]
        share = torch.linspace(0, 1, rank)
        time = 2 * (max(self.length, 4) / 2) ** share
        with torch.no_grad():
            if init == "identity":
                self.head.add_(_identity(self.head))
            self.damping.copy_(inverse_softplus(1 / time).expand_as(self.damping))
            self.frequency.copy_((math.pi * (1 - share)).expand_as(self.frequency))
            self.coefficient.normal_(std=NOISE / math.sqrt(max(rank, 1) * self.shape[1]))


class OnesKernel(Kernel):
    """Every tap 1, a running sum: the control that learns no mixing."""

    positive = True

    def __init__(self, heads: int, shifts: int, length: int):
        super().__init__(heads, shifts, length)
        self.register_buffer("weight", torch.ones(self.shape), persistent=False)

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        return self.weight[..., :length]


def _draw(taps: Tensor, init: Init) -> None:
    """Noise of length 0.02, or He's of length √2, shared out over the K channel shifts."""
    shifts, length = taps.shape[1:]
    size = NOISE if init == "identity" else math.sqrt(2)
    nn.init.normal_(taps, std=size / math.sqrt(max(length, 1) * shifts))


def _identity(taps: Tensor) -> Tensor:
    """1 at lag 0 of the unshifted channel of taps (H, K, n), 0 elsewhere."""
    identity = torch.zeros_like(taps)
    identity[:, -1:, :1] = 1
    return identity
