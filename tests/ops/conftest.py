import os
import platform
from collections.abc import Callable, Iterator

import pytest
import torch

from tmt.ops import native
from tmt.ops.linear import fused


def other_lanes() -> list[str]:
    """Compiler flags for vectors of 4, 8 and 16 floats, without those that this processor's own are like."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return ["-DLANES=4", "-DLANES=8", "-DLANES=16"]
    processor = native._processor().split()
    if "avx2" not in processor:
        return ["-march=nehalem"]
    return ["-march=nehalem", "-march=haswell" if "avx512f" in processor else "-march=haswell -DLANES=16"]


@pytest.fixture(scope="module", params=["", *other_lanes()], ids=lambda flags: flags or "own lanes")
def lanes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compiled code in the machine's own vectors, then in wider and narrower ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CFLAGS", f"{os.environ.get('CFLAGS', '')} {request.param}")
        forget_libraries()
        yield
    forget_libraries()


def forget_libraries() -> None:
    native.load.cache_clear()
    fused._kernel.cache_clear()


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Fresh memory is full of NaN, or of the largest integer."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of PyTorch's threads until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
