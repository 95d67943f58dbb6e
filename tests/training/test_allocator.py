"""Memory that was freed is used again without asking the kernel."""

import resource
import sys

import pytest
import torch

from tmt.training.allocator import keep_freed_memory


def faults(of: int) -> int:
    """Pages that are faulted in by a tensor of so many elements."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(of)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's allocator is tuned on Linux only")
def test_a_large_tensor_faults_its_pages_in_only_at_first():
    keep_freed_memory()
    assert min(faults(2**24) for _ in range(4)) < 1000
