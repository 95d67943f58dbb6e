"""`tmt bench`: how fast our parts are beside their peers, on this machine and in this process."""

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TextIO, cast

from tmt import machine
from tmt.bench import TABLES, Row, Settings, Table, llama, run
from tmt.bench.plot import plot, prepare
from tmt.bench.series import Precision
from tmt.bench.table import line, text_tables
from tmt.checkpoint import checked_device
from tmt.code_version import code_version
from tmt.commands.report import PlainConsole, tell
from tmt.errors import InputError
from tmt.options.bench import BenchOptions

STDOUT = "-"


def bench(options: BenchOptions) -> None:
    """Run the command; a row is written as soon as it is measured, so Ctrl-C keeps those before it."""
    table = TABLES[options.table]
    settings = resolve(options, table)
    if options.plot is not None:
        prepare(options.plot)
    if table.preset is not None and not llama.installed():
        tell('transformers is not installed: no peers from it; pip install "temporalmesh-transformer[bench]"')
    rows: list[Row] = []
    with ExitStack() as stack:
        lines = _json_lines(options.json, stack)
        try:
            for row in run(table, settings):
                rows.append(row)
                tell(line(row))
                if lines is not None:
                    record = {**asdict(row), "code": code_version()}
                    print(json.dumps(record, allow_nan=False), file=lines, flush=True)
        finally:
            _report(options, rows)
    if not rows:
        raise InputError(f"{options.table} has no row that --arch and --only let through")


def _report(options: BenchOptions, rows: list[Row]) -> None:
    if options.json not in (True, STDOUT):
        for table in text_tables(rows):
            PlainConsole().print(table)
    if rows and options.plot is not None:
        tell(f"figure: {plot(options.table, rows, options.plot)}")


def _json_lines(target: bool | str, stack: ExitStack) -> TextIO | None:
    """Where JSON lines go, if anywhere: stdout, or a file that they are appended to."""
    if target in (False, True, STDOUT):
        return sys.stdout if target else None
    try:
        return stack.enter_context(Path(str(target)).open("a", encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from error


def resolve(options: BenchOptions, table: Table) -> Settings:
    """The table's own settings under those that were given; InputError names a bad one."""
    if table.preset is None and (options.arch or options.preset):
        raise InputError(f"{options.table} are not models: leave --arch and --preset out, or use --only")
    device = checked_device(options.device)
    usual = table.dtypes if machine.multiplies_bf16(device) else ("fp32",)
    return Settings(
        lengths=options.all_lengths or table.lengths,
        dtypes=cast("tuple[Precision, ...]", options.formats or usual),
        batch=options.batch_size or table.batch,
        arch=options.arch,
        preset=options.preset or table.preset or "",
        only=options.only,
        seconds=options.seconds,
        device=device,
    )
