"""`tmt bench`: how fast our parts are beside their peers, on this machine and in this process."""

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console

from tmt import machine
from tmt.bench import DTYPES, TABLES, Row, Settings, Table, llama, run
from tmt.bench.plot import plot, prepare
from tmt.bench.series import Precision
from tmt.bench.table import line, text_tables
from tmt.checkpoint import checked_device
from tmt.commands.report import tell
from tmt.errors import InputError, unknown
from tmt.model.registry import ARCHITECTURES, architecture

STDOUT = "-"


@dataclass(frozen=True)
class BenchOptions:
    """Time ours against its peers in turns: medians, spread, growth with length, peak memory."""

    table: str
    """What to time: ops, train, prefill, decode, or toeplitz: ways to run one Toeplitz mixer."""
    arch: str | None = None
    """Only this architecture, in the tables of models; default: all."""
    preset: str | None = None
    """Size of the models: nano, small, medium, base or large; default: base to prefill, medium to
    decode, else nano."""
    lengths: str | None = None
    """Tokens per sequence, or of context before a decoding step: numbers with commas between; default:
    1024,4096,16384 for ops, 256 to train, 4096 to prefill, 8192 to decode, 256,1024 for toeplitz."""
    batch_size: int | None = None
    """Sequences per call; default: 8 to train, else 1."""
    dtypes: str | None = None
    """Number formats, fp32 or bf16, commas between; default: both for ops, bf16 to train, else fp32;
    fp32 alone where the machine has no products of bf16."""
    only: str = ""
    """Only rows whose name contains this."""
    seconds: float = 10.0
    """Time to repeat a row for; each call runs 3 to 100 times."""
    device: str = "auto"
    """cpu, cuda, …; auto: an accelerator where there is one."""
    json: bool | str = False
    """JSON lines on stdout instead of a table; with a file name, appended to it beside the table."""
    plot: Path | None = None
    """Folder for a figure of the table."""


def bench(options: BenchOptions) -> None:
    """Run the command; a row is written as soon as it is measured, so Ctrl-C keeps those before it."""
    if options.table not in TABLES:
        raise unknown("table", options.table, TABLES)
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
                    print(json.dumps(asdict(row), allow_nan=False), file=lines, flush=True)
        finally:
            _report(options, rows)
    if not rows:
        raise InputError(f"{options.table} has no row that --arch and --only let through")


def _report(options: BenchOptions, rows: list[Row]) -> None:
    if options.json not in (True, STDOUT):
        for table in text_tables(rows):
            Console().print(table)
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
    preset = options.preset or table.preset
    if preset is not None:
        for arch in (options.arch,) if options.arch else ARCHITECTURES:
            architecture(arch).configure(preset, {})
    batch = table.batch if options.batch_size is None else options.batch_size
    for name, value in (("batch_size", batch), ("seconds", options.seconds)):
        if not value > 0:
            raise InputError(f"{name}={value} must be above zero")
    device = checked_device(options.device)
    if options.dtypes is not None:
        dtypes = tuple(options.dtypes.split(","))
    else:
        dtypes = table.dtypes if machine.multiplies_bf16(device) else ("fp32",)
    for dtype in dtypes:
        if dtype not in DTYPES:
            raise unknown("number format", dtype, DTYPES)
    return Settings(
        lengths=table.lengths if options.lengths is None else _lengths(options.lengths),
        dtypes=cast("tuple[Precision, ...]", dtypes),
        batch=batch,
        arch=options.arch,
        preset=preset or "",
        only=options.only,
        seconds=options.seconds,
        device=device,
    )


def _lengths(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"lengths={text!r} are not whole numbers above zero with commas between")
    return tuple(map(int, parts))
