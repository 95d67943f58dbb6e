"""Whole models against their peers: training, prefill and decoding, with the share of the card's peak."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from typing import Any

from tmt.bench import TABLES, llama
from tmt.bench.gpu.card import peak
from tmt.bench.gpu.errors import last_line
from tmt.bench.measure import Row, measure
from tmt.bench.models import BASELINE, build
from tmt.bench.op import Op
from tmt.bench.series import Direction, Series, Settings

ARCHITECTURES = (BASELINE, "tmt")
"""The baseline against that of `transformers`, ours against the baseline."""
PASSES = {"train": 3, "forward": 1}
"""Forward passes that a call is worth: the backward pass costs two."""


def rows(table: str, settings: Settings) -> Iterator[dict[str, Any]]:
    """A table of models, architecture by architecture."""
    limit, _ = peak(settings.device)
    for arch in ARCHITECTURES:
        own = replace(settings, arch=arch)
        for series in TABLES[table].series(own):
            for row in measured(series, own):
                yield row if "error" in row else row | _shares(Row(**row), arch, own, limit)


def op_rows(op: Op, settings: Settings) -> Iterator[dict[str, Any]]:
    """An op in both directions."""
    for series in op.series(settings):
        yield from measured(series, settings)


def measured(series: Series, settings: Settings) -> Iterator[dict[str, Any]]:
    """The rows of a series; one with the error where it ends early."""
    try:
        yield from map(asdict, measure(series, settings))
    except Exception as error:  # whatever it is, the other series are measured
        about = {"name": series.name, "impl": series.impl, "direction": series.direction}
        yield about | {"dtype": series.dtype, "error": last_line(error)}


def _shares(row: Row, arch: str, settings: Settings, limit: float) -> dict[str, float]:
    """Of the peak, where every layer runs for every token."""
    if row.name != arch or row.direction not in PASSES:
        return {}
    peer = BASELINE if row.peer == llama.NAME else row.peer
    own, other = (
        PASSES[row.direction] * row.batch * flops(a, row.direction, row.length, settings)
        for a in (arch, peer)
    )
    return {
        "peak_share": own / row.median_s / limit,
        "peer_peak_share": other / row.peer_median_s / limit,
    }


@cache
def flops(arch: str, direction: Direction, length: int, settings: Settings) -> float:
    """Of a forward pass over one sequence; reading a prompt asks the head for one token."""
    model = build(arch, settings)
    spared = 0 if direction == "train" else length - 1
    return model.flops(length) - 2 * spared * model.head.weight.numel()
