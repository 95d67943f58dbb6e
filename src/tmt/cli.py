"""The command line: `tmt COMMAND …`. Builds the options of a command and calls its function."""

import dataclasses
import math
import os
import re
import sys
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from tmt import __version__, machine, terminal
from tmt.errors import BrokenPromiseError, InputError, readable, unknown
from tmt.options import Options
from tmt.options.bench import BenchOptions
from tmt.options.convert import ConvertOptions
from tmt.options.data import DataOptions
from tmt.options.evaluate import EvaluateOptions
from tmt.options.export import ExportOptions
from tmt.options.generate import GenerateOptions
from tmt.options.inspect import InspectOptions
from tmt.options.new import NewOptions
from tmt.options.pack import PackOptions
from tmt.options.score import ScoreOptions
from tmt.options.study import StudyOptions
from tmt.options.tasks import TasksOptions
from tmt.options.tokenizer import TokenizerOptions
from tmt.options.train import TrainOptions
from tmt.options.unpack import UnpackOptions
from tmt.options.verify import VerifyOptions

COMMANDS: dict[str, tuple[type[Options], str]] = {
    "new": (NewOptions, "tmt.commands.new:new"),
    "train": (TrainOptions, "tmt.commands.train:train"),
    "eval": (EvaluateOptions, "tmt.commands.evaluate:evaluate"),
    "score": (ScoreOptions, "tmt.commands.score:score"),
    "verify": (VerifyOptions, "tmt.commands.verify:verify"),
    "generate": (GenerateOptions, "tmt.commands.generate:generate"),
    "inspect": (InspectOptions, "tmt.commands.inspect:inspect"),
    "convert": (ConvertOptions, "tmt.commands.convert:convert"),
    "pack": (PackOptions, "tmt.commands.pack:pack"),
    "export": (ExportOptions, "tmt.commands.export:export"),
    "unpack": (UnpackOptions, "tmt.commands.unpack:unpack"),
    "data": (DataOptions, "tmt.commands.data:data"),
    "tokenizer": (TokenizerOptions, "tmt.commands.tokenizer:tokenizer"),
    "bench": (BenchOptions, "tmt.commands.bench:bench"),
    "tasks": (TasksOptions, "tmt.commands.tasks:tasks"),
    "study": (StudyOptions, "tmt.commands.study:study"),
}
"""The options of each command, and where the function is that takes them: imported, and PyTorch with it, once
nothing is left that can be refused without."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 after a mistake of the user's, 130 after Ctrl-C.

    A command that judges something returns 1 where it does not hold.
    """
    terminal.prepare()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        name, options, given = parse(arguments)
        options.verify(given)
        machine.prepare()
        return resolve_name(COMMANDS[name][1])(options) or 0
    except InputError as error:
        print(f"tmt: error: {terminal.visible(str(error), keep='')}", file=sys.stderr)
        return 2
    except BrokenPromiseError as error:
        print(f"tmt: {terminal.visible(str(error), keep='')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def parse(arguments: Sequence[str]) -> tuple[str, Any, frozenset[str]]:
    """(command, its options, the names of the options that were given); InputError for a bad command line."""
    for argument in arguments:
        try:
            terminal.typed(argument)
        except UnicodeError as error:
            raise InputError(f"argument {argument!a} is not valid UTF-8") from error
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown("command", arguments[0], COMMANDS)
    parser = _parser(arguments[0] if arguments else None)
    command, *parts = _parts(arguments)
    whole = [*command, *chain(*parts)]
    try:
        parsed = parser.parse_args(whole)
        given = parser.parse_args(whole, defaults=False)
    except ArgumentError as error:
        if "surrogates" in str(error):
            raise InputError("this locale knows no letters beyond ASCII here; set PYTHONUTF8=1") from error
        stray = re.match(r"unrecognized arguments: (--\w+)", str(error), re.IGNORECASE)
        if stray and arguments[0] in COMMANDS:
            raise _unknown_option(arguments[0], stray[1]) from error
        raise InputError(readable(error)) from error
    name = parsed.subcommand
    options = COMMANDS[name][0](**_options(parsed))
    if isinstance(options, TrainOptions):
        layers = (parser.parse_args([*command, *part], defaults=False) for part in parts)
        vars(options)["layers"] = tuple(map(_options, layers))
    return name, options, frozenset(_options(given))


def _unknown_option(command: str, option: str) -> InputError:
    names = [field.name for field in dataclasses.fields(COMMANDS[command][0])]
    known = [f"--{name.replace('_', '-')}" for name in (*names, "config", "help")]
    return unknown(f"option of tmt {command}", option.replace("_", "-"), known)


def _options(parsed: Namespace) -> dict[str, Any]:
    """The options of the command, by name."""
    options = vars(parsed.get(parsed.subcommand, Namespace()))
    return {name: value for name, value in options.items() if name != "config"}


_METAVARS: dict[Any, str] = {bool: "[{true,false}]", bool | str: "[{true,false,FILE}]", list[str]: "TEXT"}
"""What is typed after an option of a type, in the help; in brackets what may be left out."""


class _OptionsFile(ActionConfigFile):
    """A YAML file of options, in UTF-8 whatever the locale."""

    def __call__(
        self, parser: ArgumentParser, cfg: Any, values: str, option_string: str | None = None
    ) -> None:
        """Take the options in; InputError where the file is none of options."""
        try:
            content = Path(values).read_text(encoding="utf-8-sig")
            options = yaml.compose(content, yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise InputError(f"--config {values} cannot be used: {' '.join(str(error).split())}") from error
        if not isinstance(options, yaml.MappingNode):
            raise InputError(f"--config {values} holds no options; write one `name: value` a line")
        only_ascii = yaml.serialize(options, width=math.inf)  # first taken for a path, which must be sayable
        super().__call__(parser, cfg, only_ascii, option_string)


def _parser(chosen: str | None) -> ArgumentParser:
    """The parser of all commands; the options of the chosen one alone are looked into."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    strict = dict(exit_on_error=False, allow_abbrev=False)
    parser = ArgumentParser(prog="tmt", description=__doc__, version=__version__, **strict)
    commands = parser.add_subcommands(required=True)
    for name, (options, _) in COMMANDS.items():
        types = {field.name: field.type for field in dataclasses.fields(options)}
        command = ArgumentParser(description=options.__doc__, **strict)
        if name == chosen:
            command.add_argument(
                "--config", action=_OptionsFile, metavar="FILE", help="a YAML file of options"
            )
            command.add_class_arguments(options, as_positional=True)
            for action in command._actions:
                action.metavar = _METAVARS.get(types.get(action.dest), action.metavar)
        commands.add_subcommand(name, command, help=options.__doc__)
    return parser


def _parts(arguments: Sequence[str]) -> list[list[str]]:
    """What users write, as the parser wants it: the command, each recipe file, and all other options.

    Hyphens in option names become underscores, a bare switch gets its `true`, one that may also name a
    file too, each --set or --prompt is added, as it stands, to those before it, and the recipe files come
    first, so that every option beats them.
    """
    fields = dataclasses.fields(COMMANDS[arguments[0]][0]) if arguments and arguments[0] in COMMANDS else ()
    kinds = {f"--{field.name}": field.type for field in fields}
    recipes: list[list[str]] = []
    normal: list[str] = []
    before = ""
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="--"):
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            argument = _quoted(argument) if kinds.get(before) == list[str] else argument
        else:
            name = "--" + name[2:].replace("-", "_")
            kind = kinds.get(name)
            valued = (
                following.lower() in ("true", "false") if kind is bool else not following.startswith("--")
            )
            if not equals and not valued and kind in (bool, bool | str):
                equals, value = "=", "true"
            elif kind == list[str]:
                name, value = name + "+", _quoted(value) if equals else value
            argument = name + equals + value
        if name == "--config":
            recipes.append([argument])
        elif before == "--config":
            recipes[-1].append(argument)
        else:
            normal.append(argument)
        before = "" if equals else name.removesuffix("+")
    return [normal[:1], *recipes, normal[1:]]


def _quoted(item: str) -> str:
    """A list of one string, as typed, in YAML, which is what the parser takes values for."""
    return yaml.safe_dump([terminal.typed(item)], default_style='"', default_flow_style=True, width=math.inf)


if __name__ == "__main__":
    sys.exit(main())
