"""One figure a table: time against length, or bars where there is one length."""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from tmt.bench.measure import Row
from tmt.errors import InputError

SUFFIX = ".svg"
PANEL_INCHES = (7.5, 4.0)
COLOURS = 10
"""Colours before they repeat, in matplotlib's default cycle."""
BAR = 0.4
"""Width of a bar; two stand in a place of width 1."""


def prepare(folder: Path) -> None:
    """Make the folder; InputError where that fails or matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise InputError('plots need matplotlib; pip install "temporalmesh-transformer[plot]"')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error


def plot(title: str, rows: Sequence[Row], folder: Path) -> Path:
    """Draw the rows, one panel a name, into `folder`/`title`.svg; returns that path."""
    from matplotlib.figure import Figure

    panels = [list(group) for _, group in groupby(rows, key=lambda row: row.name)]
    figure = Figure((PANEL_INCHES[0] * len(panels), PANEL_INCHES[1]), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw = _draw_bars if len({row.length for row in panel}) == 1 else _draw_lines
        draw(axes, panel)
        axes.set_title(panel[0].name)
    figure.suptitle(f"tmt bench {title}, {rows[0].device}, threads: {rows[0].threads}")
    path = folder / f"{title}{SUFFIX}"
    figure.savefig(path)
    return path


def _draw_lines(axes: Any, rows: Sequence[Row]) -> None:
    """Medians with their spread on log-log axes, the peer dashed in the same colour."""
    groups = groupby(rows, key=lambda row: (row.peer, row.direction, row.dtype))
    for index, ((peer, direction, dtype), group) in enumerate(groups):
        series = list(group)
        lengths, last = [row.length for row in series], series[-1]
        own, other = f"{last.impl}{_exponent(last.exponent)}", f"{peer}{_exponent(last.peer_exponent)}"
        style = dict(color=f"C{index % COLOURS}", marker=".", capsize=3)
        medians, spread = [row.median_s for row in series], [row.spread_s / 2 for row in series]
        axes.errorbar(lengths, medians, spread, label=f"{direction} {dtype}: {own}", **style)
        medians, spread = [row.peer_median_s for row in series], [row.peer_spread_s / 2 for row in series]
        axes.errorbar(lengths, medians, spread, label=f"{direction} {dtype}: {other}", ls="--", **style)
    axes.set(xscale="log", yscale="log", xlabel="length (tokens)", ylabel="median time (s)")
    lengths = sorted({row.length for row in rows})
    axes.set_xticks(lengths, map(str, lengths))
    axes.xaxis.minorticks_off()
    axes.legend(fontsize="x-small", handlelength=4, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_bars(axes: Any, rows: Sequence[Row]) -> None:
    """Ours and the peer side by side, with their spread and ratio."""
    medians, spread = [row.median_s for row in rows], [row.spread_s / 2 for row in rows]
    axes.bar([x - BAR / 2 for x in range(len(rows))], medians, BAR, yerr=spread, label=rows[0].impl)
    medians, spread = [row.peer_median_s for row in rows], [row.peer_spread_s / 2 for row in rows]
    axes.bar([x + BAR / 2 for x in range(len(rows))], medians, BAR, yerr=spread, label=rows[0].peer)
    labels = [f"{row.direction}\n{row.dtype}\n{row.ratio:.2f}×" for row in rows]
    axes.set_xticks(range(len(rows)), labels, fontsize="small")
    axes.set(ylabel=f"median time (s), length {rows[0].length}")
    axes.legend(fontsize="small")


def _exponent(value: float | None) -> str:
    return "" if value is None else f", length^{value:.2f}"
