"""What the machine is, and how fast it could be."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import torch

from tmt.bench.timing import interleaved

PEAKS = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bfloat16 FLOP/s by a part of the card's name, the first that fits: the makers' figures."""
SIDE = {"cuda": 8192, "cpu": 512}
"""Of the square matrices whose product is timed where the card is not known."""


def facts(device: torch.device) -> Iterator[dict[str, Any]]:
    """One row."""
    flops, source = peak(device)
    yield {
        "card": name(device),
        "driver": _driver(),
        "torch": torch.__version__,
        "triton": _triton(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "peak_flops": flops,
        "peak_from": source,
    }


def name(device: torch.device) -> str:
    """Of the card, or of the machine."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def peak(device: torch.device) -> tuple[float, str]:
    """FLOP/s that products in bfloat16 can reach, and how that is known."""
    known = [flops for part, flops in PEAKS.items() if part in name(device)]
    if known:
        return known[0], "the maker's figure"
    side = SIDE.get(device.type, SIDE["cuda"])
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    a @ b
    times, again = interleaved(lambda: a @ b, lambda: a @ b, 0.5, device)
    return 2 * side**3 / min(*times.seconds, *again.seconds), f"a product of {side} x {side} matrices"


def _driver() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(ask, capture_output=True, encoding="utf-8").stdout.strip() or None


def _triton() -> str | None:
    if find_spec("triton") is None:
        return None
    import triton

    return triton.__version__
