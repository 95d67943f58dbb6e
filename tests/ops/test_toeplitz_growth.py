"""How the cost of the Toeplitz product grows with length and width, in operations, seconds and bytes."""

import time
from collections.abc import Callable
from math import log2

import pytest
import torch

from tmt.bench.growth import exponent
from tmt.errors import InputError
from tmt.ops.toeplitz import toeplitz, toeplitz_flops
from tmt.ops.toeplitz.fft import fft_length

LENGTHS = [2**i for i in range(10, 16)]


@pytest.fixture(autouse=True)
def one_thread(threads: Callable[[int], None]) -> None:
    threads(1)


def training_step(length: int, width: int, impl: str):
    x, kernel = torch.randn(1, length, 1, width, requires_grad=True), torch.randn(1, 1, length)
    kernel.requires_grad_()
    upstream = torch.randn(1, length, 1, width)
    return lambda: torch.autograd.grad(toeplitz(x, kernel, impl), (x, kernel), upstream)


def fastest(lengths: list[int], widths: list[int], impl: str, repetitions: int) -> list[float]:
    """Least processor seconds of a forward and backward pass at each size, the sizes taken in turns."""
    steps = [training_step(n, width, impl) for n, width in zip(lengths, widths, strict=True)]
    best = [float("inf")] * len(steps)
    for _ in range(repetitions + 1):
        for i, step in enumerate(steps):
            start = time.process_time()
            step()
            best[i] = min(best[i], time.process_time() - start)
    return best


def saved_bytes(length: int, width: int, impl: str) -> int:
    """Bytes of the distinct storages that are kept for the backward pass."""
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(1, length, 1, width, dtype=torch.bfloat16, requires_grad=True)
    kernel = torch.randn(1, 1, length, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        toeplitz(x, kernel, impl)
    return sum(storages.values())


def test_time_of_the_transform_in_length():
    times = fastest(LENGTHS, [64] * len(LENGTHS), "fft", repetitions=15)
    per_step = [t / (n * log2(n)) for t, n in zip(times, LENGTHS, strict=True)]
    assert exponent(LENGTHS, times) <= 1.25
    assert max(per_step) <= 2.5 * min(per_step)


def test_time_of_the_matrix_in_length():
    lengths = [2**9, 2**10, 2**11]
    assert exponent(lengths, fastest(lengths, [16] * 3, "dense", repetitions=5)) >= 1.7


def test_time_of_the_transform_in_width():
    widths = [64, 128, 256, 512]
    assert exponent(widths, fastest([1024] * 4, widths, "fft", repetitions=15)) <= 1.25


@pytest.mark.parametrize("impl", ["fft", "blocked"])
def test_bytes_saved_are_x_and_the_kernel(impl: str):
    saved = [saved_bytes(n, 4, impl) for n in LENGTHS[:4]]
    assert saved == [n * (4 * 2 + 4) for n in LENGTHS[:4]]
    assert 0.95 <= exponent(LENGTHS[:4], saved) <= 1.05
    assert exponent(LENGTHS[:3], [saved_bytes(n, 4, "dense") for n in LENGTHS[:3]]) > 1.7
    widths = [64, 128, 256]
    assert 0.95 <= exponent(widths, [saved_bytes(512, d, impl) for d in widths]) <= 1.05


def test_operations():
    assert toeplitz_flops(2, 100, 3, 4, 5, "dense") == 2 * 2 * 3 * 5 * 4 * 100 * 100
    assert toeplitz_flops(1, 384, 1, 1, 1, "blocked") == 2 * 128 * (128 + 256 + 384)
    size = fft_length(100, 100)
    transform, frequencies = 2.5 * size * log2(size), size // 2 + 1
    assert toeplitz_flops(2, 100, 3, 4, 5, "fft") == round(
        30 * (2 * transform + 4 * 8 * frequencies) + 12 * transform
    )
    grown = [toeplitz_flops(1, n, 1, 1, 64, "fft") for n in LENGTHS]
    assert 1 < exponent(LENGTHS, grown) < 1.2
    with pytest.raises(InputError, match="did you mean dense"):
        toeplitz_flops(1, 1, 1, 1, 1, "dens")
