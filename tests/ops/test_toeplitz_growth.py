"""How the cost of the Toeplitz product grows with length and width: work, numbers written, bytes kept."""

from math import log2
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tmt.bench.growth import exponent
from tmt.errors import InputError
from tmt.ops.toeplitz import toeplitz, toeplitz_flops
from tmt.ops.toeplitz.fft import fft_length

LENGTHS = [2**i for i in range(10, 16)]


class Written(TorchDispatchMode):
    """Counts the numbers that every operation of torch puts out; views put out none."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            outputs = result if isinstance(result, list | tuple) else (result,)
            self.count += sum(output.numel() for output in outputs if isinstance(output, torch.Tensor))
        return result


def written(length: int, width: int, impl: str) -> int:
    """Numbers put out in a forward and backward pass."""
    x, kernel = torch.randn(1, length, 1, width, requires_grad=True), torch.randn(1, 1, length)
    kernel.requires_grad_()
    upstream = torch.randn(1, length, 1, width)
    with Written() as mode:
        torch.autograd.grad(toeplitz(x, kernel, impl), (x, kernel), upstream)
    return mode.count


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


def test_the_transform_grows_with_the_length_and_the_matrix_with_its_square():
    assert 0.95 <= exponent(LENGTHS, [written(n, 2, "fft") for n in LENGTHS]) <= 1.05
    lengths = [256, 512, 1024]
    assert exponent(lengths, [written(n, 2, "dense") for n in lengths]) >= 1.9


def test_the_transform_grows_with_the_width():
    widths = [64, 128, 256, 512]
    assert 0.9 <= exponent(widths, [written(256, width, "fft") for width in widths]) <= 1.05


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
