"""`tmt study`: runs trained and compared by one plan."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from tmt.commands.report import tell
from tmt.config import build
from tmt.errors import InputError
from tmt.options.study import STUDY, StudyOptions
from tmt.options.study_file import COMMANDS
from tmt.study.job import Places, work_off
from tmt.study.record import write_whole
from tmt.study.run import run_study
from tmt.study.table import write_table

FUNCTIONS = {"eval": "evaluate"}
"""Functions, and modules, that are not named as their command."""


def study(options: StudyOptions) -> None:
    """Run the command."""
    folder = options.folder
    work = options.work or Path("runs") / "studies" / folder.resolve().name
    places = Places(folder.resolve(), work.resolve(), options.keep)
    if options.dry_run:
        resolve_name("tmt.study.cost:show_cost")(options.content, places, options.slots)
    elif options.only is not None:
        work_off(options.job, places, run_command)
    else:
        if not options.table:
            _run(options, places)
        print(write_table(options.content, folder))
        for path in resolve_name("tmt.study.plot:draw")(options.content, folder) if options.plot else ():
            tell(f"wrote {path}")


def _run(options: StudyOptions, places: Places) -> None:
    places.check(options.content)
    write_whole(places.records / STUDY, options.file.read_text(encoding="utf-8"))

    def renew() -> None:
        write_table(options.content, options.folder)

    failures = run_study(options.content, places, options.slots, tell, renew)
    if failures:
        raise InputError(
            f"{len(failures)} of {len(options.content.jobs)} runs failed, the first {failures[0]}; the same "
            f"command tries them again, what they said is in {options.folder}/*/log"
        )


def run_command(name: str, options: dict[str, Any]) -> str:
    """What `tmt NAME` prints with these options."""
    tell(f"$ tmt {name} {' '.join(f'{key}={value}' for key, value in options.items())}")
    function = FUNCTIONS.get(name, name)
    built = build(COMMANDS[name], options, f"option of tmt {name}")
    built.verify(frozenset(options))
    with redirect_stdout(StringIO()) as printed:
        resolve_name(f"tmt.commands.{function}:{function}")(built)
    return printed.getvalue()
