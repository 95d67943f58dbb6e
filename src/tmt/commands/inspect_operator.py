"""`tmt inspect --operator`: the Toeplitz kernels of a run as operators, one row a head."""

import json
from dataclasses import asdict
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tmt.analysis.operator import KernelRecord, mixes_by_kernels_alone, model_kernels, operator_records
from tmt.analysis.picture import check_picture, draw_symbols
from tmt.checkpoint import Run
from tmt.commands.report import PlainConsole, number, tell

COLUMNS = (
    "layer", "head", "index", "with I", "distance", "log10 cond", "σ < 1e-6", "at 2n", "rank", "w0",
)  # fmt: skip


def inspect_operator(run: Run, as_json: bool, picture: Path | None) -> None:
    """Print a table, or JSON lines, and draw the symbols if a file is named.

    Raises:
        InputError: the architecture has no Toeplitz kernels, or the picture cannot be written.
    """
    kernels = model_kernels(run.model, run.config.arch)
    if picture is not None:
        check_picture(picture)
    records = []
    for record in operator_records(kernels, mixes_by_kernels_alone(run.model)):
        records.append(record)
        if as_json:
            print(json.dumps(asdict(record), allow_nan=False), flush=True)
    if not as_json:
        PlainConsole().print(_table(records))
    if picture is not None:
        draw_symbols(kernels, records, picture)
        tell(f"figure: {picture}")


def _table(records: list[KernelRecord]) -> Table:
    sizes = sorted({record.taps for record in records})
    caption = (
        "with I: the index with the residual connection, where no projection stands between; distance: of "
        "the symbol from zero; σ: singular values that small, of n rows and of 2n; w0: share of the first "
        "tap in ‖w‖²; no index: the symbol may have a zero on the unit circle, or there are several channel "
        "shifts"
    )
    title = f"Toeplitz operators, n = {', '.join(map(str, sizes))}"
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), title=title, caption=caption)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        table.add_row(
            record.layer,
            str(record.head),
            number(record.index, "d"),
            number(record.residual_index, "d"),
            f"{record.distance:.1e}",
            _bounds(record),
            number(record.small_singular_values, "d"),
            number(record.small_singular_values_doubled, "d"),
            number(record.rank, "d"),
            number(record.first_tap_share, ".2f"),
        )
    return table


def _bounds(record: KernelRecord) -> str:
    if record.log10_condition is not None:
        return "{:.1f}–{:.1f}".format(*record.log10_condition)
    return "∞" if record.leading_zeros else "–"
