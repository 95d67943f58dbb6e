"""Rows as a benchmark would have measured them."""

from typing import Any

from tmt.bench import Row

MEASURED: dict[str, Any] = dict(
    name="an op", impl="ours", peer="theirs", direction="forward", dtype="fp32", length=64, batch=1,
    threads=1, median_s=1.0, peer_median_s=2.0, ratio=2.0, peak_bytes=2**20, peer_peak_bytes=2**21,
    spread_s=0.1, peer_spread_s=0.1, repetitions=3, tokens_per_s=64.0, peer_tokens_per_s=32.0,
    exponent=None, peer_exponent=None, memory_exponent=None, peer_memory_exponent=None, device="cpu",
    torch="2", facts={},
)  # fmt: skip


def row(**changes: Any) -> Row:
    return Row(**{**MEASURED, **changes})
