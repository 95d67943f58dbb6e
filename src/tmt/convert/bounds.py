"""How far the output of a causal Toeplitz product can move when its kernel changes by `error`.

For ``y = w * x`` and ``ŷ = (w − e) * x`` of one channel, whatever the input and its length:
``‖y − ŷ‖∞ ≤ ‖e‖₁ ‖x‖∞`` and ``‖y − ŷ‖₂ ≤ max_θ |E(e^{iθ})| ‖x‖₂`` with ``E(z) = Σ_k e[k] z^k``.
"""

import math

import torch
from torch import Tensor

SAMPLES_PER_TAP = 16


def gain(taps: Tensor) -> Tensor:
    """Upper bound of ``max_θ |Σ_k taps[k] e^{iθk}|``, at most 0.5 % above it: (..., n) float64 to (...).

    The largest of N ≥ 16 n samples on the circle, divided by ``cos(π (n − 1) / 2N)``: between samples a
    trigonometric polynomial of degree (n − 1)/2 cannot rise above that (Ehlich & Zeller, 1964).
    """
    n = taps.shape[-1]
    samples = 1 << (SAMPLES_PER_TAP * n - 1).bit_length()
    sampled = torch.fft.rfft(taps, samples).abs().amax(-1)
    return torch.minimum(sampled / math.cos(math.pi * (n - 1) / (2 * samples)), taps.abs().sum(-1))


def largest_output_error(error: Tensor, input_limit: float | Tensor) -> Tensor:
    """``‖e‖₁ · limit`` ≥ ‖y − ŷ‖∞ for inputs of magnitude at most `input_limit`: (..., n) to (...).

    :func:`worst_input` attains it.
    """
    return error.abs().sum(-1) * input_limit


def output_error_norm(error: Tensor, input_norm: float | Tensor) -> Tensor:
    """``gain(e) · norm`` ≥ ‖y − ŷ‖₂ for inputs of 2-norm at most `input_norm`: (..., n) to (...)."""
    return gain(error) * input_norm


def worst_input(error: Tensor) -> Tensor:
    """The input (..., n) of entries ±1 and 0 whose last output is off by the whole of ``‖e‖₁``."""
    return error.sign().flip(-1)


def normalised_input_limit(
    scale: Tensor, shift: Tensor | None = None, projection: Tensor | None = None
) -> Tensor:
    """Largest magnitude of each channel behind a normalisation layer and a linear map, whatever the tokens.

    The layer gives ``scale ⊙ u + shift`` with ``‖u‖₂ ≤ √d``; Cauchy–Schwarz does the rest.

    Args:
        scale: (d,) gain of the LayerNorm or RMSNorm.
        shift: (d,) its bias, or None.
        projection: (channels, d) weight of the linear map after it, or None for the identity. The map's
            own bias adds its magnitude.

    Returns:
        (channels,) limits; times √S they bound the 2-norm over S tokens.
    """
    root = math.sqrt(len(scale))
    shift = torch.zeros_like(scale) if shift is None else shift
    if projection is None:
        return root * scale.abs() + shift.abs()
    return root * (projection * scale).norm(dim=-1) + (projection @ shift).abs()
