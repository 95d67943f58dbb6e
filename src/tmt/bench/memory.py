"""The most memory that a call holds beyond what was there before it.

On a CPU every allocation and release of torch's allocator is recorded by its profiler, so the scratch
tensors of kernels count, those of custom ops too; memory that a library takes behind torch's back does
not. An accelerator's allocator keeps the peak itself.
"""

import os
from collections.abc import Callable
from itertools import accumulate

import torch
from torch.autograd.profiler import profile

ALLOCATION = "[memory]"
"""Name of the profiler's events that allocate (bytes > 0) or release (bytes < 0)."""


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Largest sum of live bytes that the call allocated, its result included.

    The call runs twice, and the second time counts: what is made once and kept is then there already, and
    what the call replaces, such as the state before it, was allocated under the profiler's eyes, without
    which its release would not be seen.
    """
    if device.type != "cpu":
        call()
        torch.accelerator.reset_peak_memory_stats(device)
        before = torch.accelerator.memory_allocated(device)
        _result = call()
        return torch.accelerator.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else torch 2.13 writes to stderr
    with profile(profile_memory=True):
        call()
    profiler = profile(profile_memory=True)
    with profiler:
        _result = call()
    recorded = profiler.kineto_results
    assert recorded is not None
    events = sorted((e for e in recorded.events() if e.name() == ALLOCATION), key=lambda e: e.start_ns())
    return max(accumulate((e.nbytes() for e in events), initial=0))  # pyrefly: ignore[missing-attribute]
