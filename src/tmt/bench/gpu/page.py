"""The rows of a visit as a page for a reader."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

Row = dict[str, Any]

TIMES: dict[str, Callable[[Row], Any]] = {
    "what": lambda row: row["name"],
    "path": lambda row: row["impl"],
    "against": lambda row: row["peer"],
    "direction": lambda row: row["direction"],
    "dtype": lambda row: row["dtype"],
    "length": lambda row: row["length"],
    "batch": lambda row: row["batch"],
    "ms": lambda row: 1e3 * row["median_s"],
    "peer's": lambda row: 1e3 * row["peer_median_s"],
    "×": lambda row: row["ratio"],
    "tokens/s": lambda row: round(row["tokens_per_s"]),
    "peer's tokens/s": lambda row: round(row["peer_tokens_per_s"]),
    "peak MiB": lambda row: row["peak_bytes"] / 2**20,
    "peer's peak": lambda row: row["peer_peak_bytes"] / 2**20,
    "of peak FLOP/s": lambda row: row.get("peak_share"),
    "peer's of peak": lambda row: row.get("peer_peak_share"),
}
"""Columns of rows with times."""

HEAD = """A visit to a GPU: parity of the kernels, times against their peers, what models learn by the clock.
`×` is the peer's time over ours; peak memory is what a call holds beyond what was there before. All rows as
JSON: `rows.jsonl`.

```
{command}
```
"""


def page(rows: Sequence[Row], command: str) -> str:
    """Markdown: a table for every part, and what failed under it."""
    sections = [HEAD.format(command=command)]
    for part, group in groupby(rows, key=lambda row: row["part"]):
        found = list(group)
        whole = [row for row in found if "error" not in row]
        lines = [f"- {_about(row)}{row['error']}" for row in found if "error" in row]
        sections.append("\n".join([f"## {part}", "", *_table(whole), *lines, ""]))
    return "\n".join(sections)


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    columns = TIMES if "ratio" in rows[0] else _plain(rows)
    cells = [[_cell(value(row)) for value in columns.values()] for row in rows]
    return [_line(list(columns)), _line(["---"] * len(columns)), *map(_line, cells), ""]


def _plain(rows: Sequence[Row]) -> dict[str, Callable[[Row], Any]]:
    """A column for every key."""
    keys = dict.fromkeys(key for row in rows for key in row if key != "part")
    return {key: lambda row, key=key: row.get(key) for key in keys}


def _about(row: Row) -> str:
    known = [str(row[key]) for key in ("name", "impl", "direction", "dtype") if key in row]
    return ", ".join(known) + ": " if known else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
