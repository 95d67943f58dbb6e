"""A kernel per channel that a small network computes from the lag (Poli et al., 2023)."""

import math

import torch
from torch import Tensor, nn

from tmt.layers.toeplitz_choices import Init
from tmt.layers.toeplitz_kernel import NOISE, Kernel

FEATURES = 8
"""Frequencies of the lag that the network reads, each as a sine and a cosine."""
WIDTH = 64
"""Hidden units."""
SHARPNESS = 10.0
"""Frequency of the network's sine activations."""


class ImplicitKernel(Kernel):
    """``w_c[k] = MLP(features(k))_c e^(−α_c k / n)``, plus a free tap at lag 0.

    Decay rates α are fixed, spread so that the window falls to 1 % within 0.3 n to 1.5 n taps.
    """

    FASTEST, SLOWEST, TARGET = 0.3, 1.5, 0.01

    def __init__(self, channels: int, length: int):
        super().__init__(channels, 1, length)
        self.output = nn.Linear(WIDTH, channels)
        first, second = nn.Linear(1 + 2 * FEATURES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.network = nn.Sequential(first, Sine(), second, Sine())
        self.skip = nn.Parameter(torch.empty(channels))
        rates = torch.linspace(1 / self.SLOWEST, 1 / self.FASTEST, channels) * -math.log(self.TARGET)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, length: int) -> Tensor:
        """See :class:`Kernel`."""
        time = torch.arange(length, device=self.skip.device)[:, None] / self.length
        angles = 2 * math.pi * time * torch.arange(1, FEATURES + 1, device=time.device)
        features = torch.cat([time, angles.sin(), angles.cos()], 1).to(self.skip.dtype)
        with torch.autocast(time.device.type, enabled=False):
            taps = self.output(self.network(features)) * torch.exp(-self.rates * time).to(self.skip.dtype)
        return torch.cat([taps[:1] + self.skip, taps[1:]]).T[:, None]

    def initialise(self, init: Init) -> None:
        """Wide inputs, so that the kernel has detail; the output near 0 and the free tap 1."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                bound = math.sqrt(6 / layer.in_features)
                nn.init.uniform_(layer.weight, -bound, bound)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.output.weight, std=NOISE / math.sqrt(self.length))
        nn.init.ones_(self.skip)


class Sine(nn.Module):
    """``sin(f x)`` with f = 10 at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.full((WIDTH,), SHARPNESS))

    def forward(self, x: Tensor) -> Tensor:
        """(n, WIDTH) to (n, WIDTH)."""
        return torch.sin(self.frequency * x)
