"""Rows for a reader: a line as each is measured, and a table of every series."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tmt.bench.measure import SHARE, Row

COLUMNS = ("length", "ours ± IQR", "peer ± IQR", "ratio", "peak", "peer's peak")


def line(row: Row) -> str:
    """One row in words."""
    share = f", {row.facts[SHARE]:.0%} of the rate of a float32 product" if SHARE in row.facts else ""
    return (
        f"{_title(row)}, length {row.length}: {_time(row.median_s, row.spread_s)}, "
        f"peer {_time(row.peer_median_s, row.peer_spread_s)}, {row.ratio:.2f}×{share}"
    )


def text_tables(rows: Sequence[Row]) -> Iterator[Table]:
    """A table of each series, with the growth of time and memory with length where it has several."""
    for title, group in groupby(rows, key=_title):
        series = list(group)
        caption = _growth(series[-1])
        table = Table(*COLUMNS, title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left")
        for column in table.columns:
            column.justify = "right"
        for row in series:
            table.add_row(
                f"{row.length:,}",
                _time(row.median_s, row.spread_s),
                _time(row.peer_median_s, row.peer_spread_s),
                f"{row.ratio:.2f}×",
                _size(row.peak_bytes),
                _size(row.peer_peak_bytes),
            )
        yield table


def _title(row: Row) -> str:
    return f"{row.name} ({row.impl}) against {row.peer}, {row.direction} {row.dtype}"


def _time(median: float, spread: float) -> str:
    time = f"{median:.3g} s" if median >= 1 else f"{median * 1e3:.3g} ms"
    return f"{time} ±{spread / median:.0%}"


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def _growth(row: Row) -> str | None:
    time, memory = (row.exponent, row.peer_exponent), (row.memory_exponent, row.peer_memory_exponent)
    parts = [
        f"{name} ∝ length^{own:.2f} (peer {peer:.2f})"
        for name, (own, peer) in {"time": time, "peak": memory}.items()
        if own is not None and peer is not None
    ]
    return ", ".join(parts) or None
