"""What the Toeplitz layers can be told to do, by name."""

from typing import Literal

KernelKind = Literal["raw", "delta", "softplus", "decay", "expsum", "ones"]
"""What makes the taps."""
Init = Literal["identity", "kaiming"]
"""Weights at the start."""
Bias = Literal["position", "channel", "none"]
"""What is added after mixing."""
