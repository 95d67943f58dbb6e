"""The benchmarks: what `tmt bench` can time, as tables of series.

A series is one thing of ours against one peer over several lengths. An op is timed only after it has been
found equal to its reference on this machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tmt.bench import decode, prefill, toeplitz_routes, train
from tmt.bench.causal import CAUSAL
from tmt.bench.cross_entropy import CROSS_ENTROPY
from tmt.bench.measure import Row, measure
from tmt.bench.mesh import MESH
from tmt.bench.op import Op
from tmt.bench.series import DTYPES, Precision, Series, Settings
from tmt.bench.squared_mlp import SQUARED_MLP
from tmt.bench.toeplitz import TOEPLITZ, TOEPLITZ_FFT

__all__ = ["DTYPES", "OPS", "TABLES", "Row", "Settings", "Table", "run"]

OPS: tuple[Op, ...] = (MESH, CAUSAL, CROSS_ENTROPY, SQUARED_MLP, TOEPLITZ, TOEPLITZ_FFT)


@dataclass(frozen=True)
class Table:
    """One table and the settings it has unless told otherwise."""

    series: Callable[[Settings], Iterator[Series]]
    lengths: tuple[int, ...]
    dtypes: tuple[Precision, ...]
    """Number formats; float32 instead of bfloat16 where that has no products of its own."""
    batch: int = 1
    preset: str | None = None
    """Size of the models; None where there are none."""


def ops(settings: Settings) -> Iterator[Series]:
    """Every registered op."""
    for op in OPS:
        yield from op.series(settings)


TABLES: dict[str, Table] = {
    "ops": Table(ops, lengths=(1024, 4096, 16384), dtypes=("fp32", "bf16")),
    "train": Table(train.series, lengths=(256,), dtypes=("bf16",), batch=8, preset="nano"),
    "prefill": Table(prefill.series, lengths=(4096,), dtypes=("fp32",), preset="base"),
    "decode": Table(decode.series, lengths=(8192,), dtypes=("fp32",), preset="medium"),
    "toeplitz": Table(toeplitz_routes.series, lengths=(256, 1024), dtypes=("fp32",), preset="nano"),
}


def run(table: Table, settings: Settings) -> Iterator[Row]:
    """Measure a table row by row; InputError when something of ours is found wrong."""
    for series in table.series(settings):
        if settings.only in series.name:
            yield from measure(series, settings)
