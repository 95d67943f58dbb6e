"""The symbols of a model's kernels as curves around zero."""

from collections.abc import Sequence
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from tmt.analysis.operator import KernelRecord, Kernels
from tmt.errors import InputError

SUFFIXES = (".svg", ".png")
COLUMNS = 4
PANEL_INCHES = 3.5
POINTS_PER_TAP = 8
"""Of a curve; the count of windings has its own, finer samples."""
COLOURS = 10
"""Colours before they repeat, in matplotlib's default cycle."""


def check_picture(path: Path) -> None:
    """InputError unless a picture can be written there: its suffix, its folder, matplotlib."""
    if find_spec("matplotlib") is None:
        raise InputError('plots need matplotlib; pip install "temporalmesh-transformer[plot]"')
    if path.suffix not in SUFFIXES:
        raise InputError(f"cannot draw {path}: its name must end in {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")


def draw_symbols(kernels: Kernels, records: Sequence[KernelRecord], path: Path) -> None:
    """Draw a(exp(iθ)) for all θ: a panel a layer, a colour a head, zero marked, indices in the legend.

    Args:
        kernels: (H, K, n) by layer; of several channel shifts the sum is drawn, which is what a signal equal
            in all channels meets.
        records: what :func:`tmt.analysis.operator.operator_records` says of them.
        path: an SVG or PNG file to write.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(kernels))
    rows = ceil(len(kernels) / columns)
    figure = Figure((PANEL_INCHES * columns, PANEL_INCHES * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(kernels) :]:
        axes.set_axis_off()
    for axes, (layer, heads) in zip(panels, kernels.items(), strict=False):
        _draw_layer(axes, heads, [record.index for record in records if record.layer == layer])
        axes.set_title(f"layer {layer}", fontsize="medium")
    figure.suptitle("symbols on the unit circle, + marks zero")
    try:
        figure.savefig(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _draw_layer(axes: Any, heads: np.ndarray, indices: list[int | None]) -> None:
    for head, (kernel, index) in enumerate(zip(heads, indices, strict=True)):
        curve = np.fft.fft(kernel.sum(0), POINTS_PER_TAP * kernel.shape[-1]).conj()
        curve = np.append(curve, curve[0])
        label = f"head {head}: {'no index' if index is None else f'index {index}'}"
        axes.plot(curve.real, curve.imag, color=f"C{head % COLOURS}", linewidth=0.3, alpha=0.7, label=label)
    axes.plot(0, 0, "k+", markersize=12)
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize="x-small")
    for handle in axes.legend(fontsize="x-small", loc="upper right").get_lines():
        handle.set(linewidth=2, alpha=1)
