"""`tmt verify`: the proof, or the place, for every rule."""

import json

import torch
from rich.table import Table
from tqdm import tqdm

from tmt.commands.report import PlainConsole, number
from tmt.evaluate.verified import Evaluated
from tmt.options.verify import VerifyOptions
from tmt.verify import Report, findings, open_target

MARKS = {"holds": "holds", "broken": "BROKEN", "not claimed": "not claimed"}


def verify(options: VerifyOptions) -> int:
    """Run the command; returns the exit code."""
    subject = open_target(options.target, Evaluated)
    dtypes = () if options.dtype is None else (getattr(torch, options.dtype),)
    only = options.only.split(",") if options.only else ()
    tried = findings(subject, only=only, length=options.length, dtypes=dtypes, seed=options.seed)
    report = Report(options.target, tuple(tqdm(tried, unit=" rules", leave=False, disable=None)))
    if options.json:
        print(json.dumps(report.record()))
    else:
        _show(report)
    return 0 if report.passed else 1


def _show(report: Report) -> None:
    title = f"{report.target}: " + ("every rule holds" if report.passed else f"{len(report.broken)} findings")
    table = Table("rule", "format", "verdict", "worst", "noise", "limit", title=title, title_justify="left")
    for finding in report:
        figures = (number(figure, ".1e") for figure in (finding.figure, finding.noise, finding.limit))
        table.add_row(finding.rule, finding.dtype, MARKS[finding.verdict], *figures)
    console = PlainConsole()
    console.print(table)
    for place in dict.fromkeys(f"{finding.rule}: {finding.where}" for finding in report if finding.where):
        console.print(place, highlight=False)
