"""The rows of a series: ours checked, then both calls weighed and timed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tmt.bench.growth import exponent
from tmt.bench.memory import peak_bytes
from tmt.bench.products import product_rate
from tmt.bench.series import Direction, Pair, Precision, Series, Settings
from tmt.bench.timing import interleaved

SHARE = "share_of_fp32_product"
"""The fact that says which part of the rate of a large float32 product a call reaches."""


@dataclass(frozen=True)
class Row:
    """One measurement: a line of JSON. Times are wall clock; memory is what a call holds at its peak."""

    name: str
    impl: str
    peer: str
    direction: Direction
    dtype: Precision
    length: int
    batch: int
    threads: int
    median_s: float
    peer_median_s: float
    ratio: float
    """peer_median_s / median_s: above 1, ours is faster."""
    peak_bytes: int
    peer_peak_bytes: int
    spread_s: float
    """Interquartile range."""
    peer_spread_s: float
    repetitions: int
    tokens_per_s: float
    peer_tokens_per_s: float
    exponent: float | None
    """Growth of the median with length, fitted to this row and those before it in its series."""
    peer_exponent: float | None
    memory_exponent: float | None
    """The same of the peak memory."""
    peer_memory_exponent: float | None
    device: str
    torch: str
    facts: dict[str, Any]


def measure(series: Series, settings: Settings) -> Iterator[Row]:
    """The rows of a series as they are measured, one a length; InputError if its check fails."""
    series.check()
    rows: list[Row] = []
    for length in settings.lengths:
        rows.append(_row(series, length, series.at(length), rows, settings))
        yield rows[-1]


def _row(series: Series, length: int, pair: Pair, before: Sequence[Row], settings: Settings) -> Row:
    peak, peer_peak = (peak_bytes(call, settings.device) for call in (pair.ours, pair.peer))  # warms up
    times, peer_times = interleaved(pair.ours, pair.peer, settings.seconds, settings.device)
    lengths = [*(row.length for row in before), length]

    facts = dict(pair.facts)
    if pair.flops is not None:
        rate = product_rate(settings.seconds / 10, settings.device)
        facts |= {"flops": pair.flops, SHARE: pair.flops / times.median / rate}

    def growth(cost: str, latest: float) -> float | None:
        return exponent(lengths, [*(getattr(row, cost) for row in before), latest])

    return Row(
        name=series.name,
        impl=series.impl,
        peer=series.peer,
        direction=series.direction,
        dtype=series.dtype,
        length=length,
        batch=settings.batch,
        threads=torch.get_num_threads(),
        median_s=times.median,
        peer_median_s=peer_times.median,
        ratio=peer_times.median / times.median,
        peak_bytes=peak,
        peer_peak_bytes=peer_peak,
        spread_s=times.spread,
        peer_spread_s=peer_times.spread,
        repetitions=len(times.seconds),
        tokens_per_s=pair.tokens / times.median,
        peer_tokens_per_s=pair.tokens / peer_times.median,
        exponent=growth("median_s", times.median),
        peer_exponent=growth("peer_median_s", peer_times.median),
        memory_exponent=growth("peak_bytes", peak),
        peer_memory_exponent=growth("peer_peak_bytes", peer_peak),
        device=str(settings.device),
        torch=torch.__version__,
        facts=facts,
    )
