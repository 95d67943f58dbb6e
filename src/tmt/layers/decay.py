"""Temporal decay of attention: by distance per head, by content per head, by position per channel.

Specs: TMT §4. All forms start with heads (channels) spread over time scales and never depend on the
length of the sequence.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tmt.ops.precision import at_least_float32


def head_rates(n_heads: int, fastest: float) -> Tensor:
    """(H,) decay rates per token: the first head `fastest`, each next one half, the last head near 0."""
    rates = [fastest * 0.5**head for head in range(n_heads)]
    return torch.tensor([*rates[:-1], min(1e-5, rates[-1])])


def inverse_softplus(y: Tensor) -> Tensor:
    """x with softplus(x) = y, for y > 0."""
    return y + torch.log(-torch.expm1(-y))


class DistanceDecay(nn.Module):
    """Rates of ``δ_h(Δ) = 2σ(−rate_h Δ)``: 1 at distance 0, falling, applied after the softmax.

    ``rate_h = softplus(w_h) / τ`` with τ = 16 tokens; the half-life is ``ln 3 / rate``.
    """

    TIME_SCALE = 16.0

    def __init__(self, n_heads: int, fastest: float):
        super().__init__()
        self.weight = nn.Parameter(inverse_softplus(head_rates(n_heads, fastest) * self.TIME_SCALE))

    def rates(self) -> Tensor:
        """(H,) non-negative, per token."""
        return F.softplus(self.weight) / self.TIME_SCALE

    def half_lives(self) -> Tensor:
        """(H,) distance in tokens at which a weight is halved."""
        return math.log(3.0) / self.rates()


class ForgetGate(nn.Module):
    """Log forget gate of every token and head, ``log σ(w_h · x + b_h)`` (Lin et al., 2025).

    The bias between query i and key j is the sum of the gates of the tokens j+1..i.
    """

    def __init__(self, d_model: int, n_heads: int, fastest: float):
        super().__init__()
        self.proj = nn.Linear(d_model, n_heads)
        self.initial_bias = inverse_softplus(head_rates(n_heads, fastest))

    def initialise(self) -> None:
        """Start with content-free gates e^(−rate_h)."""
        nn.init.zeros_(self.proj.weight)
        with torch.no_grad():
            self.proj.bias.copy_(-self.initial_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, D) to (n, H) float32, at most 0."""
        return F.logsigmoid(at_least_float32(self.proj(x)))

    def half_lives(self) -> Tensor:
        """(H,) distance in tokens at which a content-free bias halves a weight."""
        return -math.log(2.0) / F.logsigmoid(self.proj.bias)


class ChannelDecay(nn.Module):
    """Scale of each attention output channel by absolute position t: ``2σ(−softplus(w_d) t / horizon)``."""

    def __init__(self, d_model: int, horizon: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((d_model,), -4.0))
        self.horizon = horizon

    def forward(self, positions: Tensor) -> Tensor:
        """(n,) positions to (n, D) scales in (0, 1]."""
        return 2 * torch.sigmoid(-F.softplus(self.weight) * (positions[:, None] / self.horizon))
