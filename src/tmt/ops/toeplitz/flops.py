"""Floating-point operations (a multiply-add is two) of each path, from the shapes it executes."""

from math import log2

from tmt.errors import unknown
from tmt.ops.toeplitz import blocked
from tmt.ops.toeplitz.fft import fft_length


def toeplitz_flops(
    batch: int, length: int, heads: int, channel_kernels: int, width: int, impl: str, taps: int | None = None
) -> int:
    """Operations of one forward :func:`tmt.ops.toeplitz.toeplitz` call.

    With p the padded length, a real transform counts ``5/2 p log2 p``, the radix-2 count, and each of the
    p/2 + 1 frequencies 8 for a complex multiply-add: ``B·H·D (2 · 5/2 p log2 p + 8 K (p/2 + 1))`` for the
    FFT path, and H·K transforms of the kernel. The others count the entries of the matrices they multiply
    by, the zeros in a block's triangle included.

    Args: B sequences of `length`; H heads of K kernels and of `width` D; path `impl`; `taps` of a kernel,
    by default as many as positions.
    """
    taps = min(length, taps or length)
    channels, kernels = batch * heads * width, heads * channel_kernels
    if impl == "fft":
        size = fft_length(length, taps)
        transform = transform_flops(size)
        return round(channels * (2 * transform + 8 * channel_kernels * (size // 2 + 1)) + kernels * transform)
    if impl == "dense":
        return 2 * channels * channel_kernels * length**2
    if impl == "blocked":
        spans = blocked.spans(length, taps, blocked.BLOCK)
        entries = sum((rows.stop - rows.start) * (past.stop - past.start) for rows, past, _ in spans)
        return 2 * channels * channel_kernels * entries
    raise unknown("Toeplitz product implementation", impl, ("dense", "fft", "blocked"))


def transform_flops(length: int) -> float:
    """Of one real transform, forward or back: ``5/2 p log2 p``, the radix-2 count."""
    return 2.5 * length * log2(length)
