"""What this machine can do, and how much of it is ours: the one place that is asked.

The files that Linux offers are read below a root, so that tests can make up a machine. Elsewhere what they
would say is not known.
"""

import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path("/")

THREADS_ARE_GIVEN = not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}.isdisjoint(os.environ)
"""Whether the user, or a launcher, has said how many threads to use."""


def multiplies_bf16(device: "torch.device") -> bool:
    """Whether the device has bfloat16 matrix products that pay; emulated ones take up to 150 times as long.

    On x86 these are AVX512-BF16 or AMX, unless oneDNN is held to less (`ONEDNN_MAX_CPU_ISA`). Intel's
    AVX512-BF16 does not count: products in it take twice as long as in float32 (94 against 174 GFLOP/s on one
    core of a Xeon without AMX). On MPS they are assumed from macOS 14 on, the first that takes the type: not
    measured.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if platform.machine() in ("x86_64", "AMD64"):
        # oneDNN takes the type on every x86 processor with AVX-512, which may have no products of it.
        vectors = torch.cpu._is_avx512_bf16_supported() and not _made_by_intel()
        if not (vectors or torch.cpu._is_amx_tile_supported()):
            return False
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def usable_cores() -> int:
    """Cores that this process may really use, at least 1: its affinity, and the quota of its container."""
    return max(1, int(min([len(_affinity()), *_quotas()])))


def prepare() -> None:
    """Settle how torch's threads work, before it is imported; what the environment says already stays.

    As many threads as there are usable cores: more would wait for their turn at every barrier. They fall
    asleep soon where they wait, since one that spins keeps a core from the thread that it waits for: beside
    one other busy process on two cores, training (nano TMT) was 4 times as fast as with libgomp's own
    patience, and 4 % slower where nothing else ran; at a third of the turns it is 5 and 15.
    """
    if "torch" in sys.modules:
        return
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if not THREADS_ARE_GIVEN:
        os.environ["OMP_NUM_THREADS"] = str(usable_cores())


def description() -> dict[str, Any]:
    """What figures were measured on: processor, cores of it, system, Python and torch."""
    from importlib.metadata import version

    names = [
        line.partition(":")[2].strip() for line in _lines("proc/cpuinfo") if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _made_by_intel() -> bool:
    """Whether the processor's maker is Intel; without a list of processors, by the processor's name."""
    return any("GenuineIntel" in line for line in _lines("proc/cpuinfo") or [platform.processor()])


class Load:
    """How many cores there have been for this process since it was last asked."""

    def __init__(self) -> None:
        self._last = self._now()

    def free_cores(self) -> float | None:
        """Cores that were idle or worked for us, of those we may use; None where that is not known."""
        before, self._last = self._last, self._now()
        seconds, own, idle = (new - old for new, old in zip(self._last, before, strict=True))
        return None if seconds <= 0 or self._last[2] == 0 else (own + idle) / seconds

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Time, time that our threads worked, and time that our cores were idle, s (0 where not known)."""
        return time.monotonic(), time.process_time(), sum(_idle_seconds())


def _affinity() -> set[int]:
    """Numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _quotas() -> Iterator[float]:
    """Cores' worth of time that each control group around this process grants (cgroup v1 and v2)."""
    for line in _lines("proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        place = Path("sys/fs/cgroup", controllers)
        own = place / group.lstrip("/")
        for path in (own, *own.parents[: len(own.parts) - len(place.parts)]):
            yield from _quota(path)


def _quota(group: Path) -> Iterator[float]:
    """The limit of one control group, if it has one."""
    limit = " ".join(_lines(group / "cpu.max")).split()  # "max 100000", or "50000 100000"
    if not limit:
        limit = [*_lines(group / "cpu.cfs_quota_us"), *_lines(group / "cpu.cfs_period_us")]
    if len(limit) == 2 and limit[0].isdecimal() and int(limit[1]) > 0:
        yield int(limit[0]) / int(limit[1])


def _idle_seconds() -> Iterator[float]:
    """Time that each processor we may run on was idle or waited for a disk."""
    ours = {f"cpu{number}" for number in _affinity()}
    for line in _lines("proc/stat"):
        name, *ticks = line.split()
        if name in ours:
            yield sum(map(int, ticks[3:5])) / os.sysconf("SC_CLK_TCK")


def _lines(path: str | Path) -> list[str]:
    """Of a file below the root; none where it cannot be read."""
    try:
        return (ROOT / path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
