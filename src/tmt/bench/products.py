"""What a large matrix product reaches on this machine: the rate that everything else is measured against."""

import torch

from tmt.bench.timing import interleaved

SIDE = 1024
"""Rows and columns of the matrices: 4 MB each."""


def product_rate(seconds: float, device: torch.device) -> float:
    """Operations per second of a float32 product of two square matrices, a multiply-add being two.

    It is timed for about `seconds`.
    """
    a, b = torch.ones(2, SIDE, SIDE, device=device)
    into = torch.empty_like(a)

    def multiply() -> None:
        torch.mm(a, b, out=into)

    multiply()
    times, again = interleaved(multiply, multiply, seconds, device)
    return 2 * SIDE**3 / min(times.median, again.median)
