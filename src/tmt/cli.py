"""The command line: `tmt COMMAND …`. Builds the options of a command and calls its function."""

import dataclasses
import math
import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from pkgutil import resolve_name
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from tmt import __version__, machine
from tmt.config import readable
from tmt.errors import InputError
from tmt.options import Options
from tmt.options.bench import BenchOptions
from tmt.options.convert import ConvertOptions
from tmt.options.data import DataOptions
from tmt.options.evaluate import EvaluateOptions
from tmt.options.generate import GenerateOptions
from tmt.options.inspect import InspectOptions
from tmt.options.pack import PackOptions
from tmt.options.score import ScoreOptions
from tmt.options.study import StudyOptions
from tmt.options.tasks import TasksOptions
from tmt.options.tokenizer import TokenizerOptions
from tmt.options.train import TrainOptions
from tmt.options.unpack import UnpackOptions

COMMANDS: dict[str, tuple[type[Options], str]] = {
    "train": (TrainOptions, "tmt.commands.train:train"),
    "eval": (EvaluateOptions, "tmt.commands.evaluate:evaluate"),
    "score": (ScoreOptions, "tmt.commands.score:score"),
    "generate": (GenerateOptions, "tmt.commands.generate:generate"),
    "inspect": (InspectOptions, "tmt.commands.inspect:inspect"),
    "convert": (ConvertOptions, "tmt.commands.convert:convert"),
    "pack": (PackOptions, "tmt.commands.pack:pack"),
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
    """Run one command; returns the exit code: 0, 2 after a mistake of the user's, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        name, options, given = parse(arguments)
        options.verify(given)
        machine.prepare()
        resolve_name(COMMANDS[name][1])(options)
    except InputError as error:
        print(f"tmt: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0


def parse(arguments: Sequence[str]) -> tuple[str, Any, frozenset[str]]:
    """(command, its options, the names of the options that were given); InputError for a bad command line."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"argument {argument!a} is not valid UTF-8") from error
    arguments = _normalised(arguments)
    parser = _parser(arguments[0] if arguments else None)
    try:
        parsed = parser.parse_args(arguments)
        given = parser.parse_args(arguments, defaults=False)
    except ArgumentError as error:
        raise InputError(readable(error)) from error
    name = parsed.subcommand
    values = vars(parsed[name])
    values.pop("config", None)
    return name, COMMANDS[name][0](**values), frozenset(vars(given.get(name, Namespace())))


def _parser(chosen: str | None) -> ArgumentParser:
    """The parser of all commands; the options of the chosen one alone are looked into."""
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    strict = dict(exit_on_error=False, allow_abbrev=False)
    parser = ArgumentParser(prog="tmt", description=__doc__, version=__version__, **strict)
    commands = parser.add_subcommands(required=True)
    for name, (options, _) in COMMANDS.items():
        command = ArgumentParser(description=options.__doc__, **strict)
        if name == chosen:
            command.add_argument("--config", action="config", help="a YAML file of options")
            command.add_class_arguments(options, as_positional=True)
        commands.add_subcommand(name, command, help=options.__doc__)
    return parser


def _normalised(arguments: Sequence[str]) -> list[str]:
    """What users write, as the parser wants it.

    Hyphens in option names become underscores, a bare switch gets its `true`, also one that may have a
    value, each --set or --prompt is added, as it stands, to those before it, and the recipe file comes
    first, so that every option beats it.
    """
    fields = dataclasses.fields(COMMANDS[arguments[0]][0]) if arguments and arguments[0] in COMMANDS else ()
    kinds = {f"--{field.name}": field.type for field in fields}
    recipe, normal, before = [], [], ""
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="--"):
        name, equals, value = argument.partition("=")
        if not argument.startswith("--"):
            argument = _quoted(argument) if kinds.get(before) == list[str] else argument
        else:
            name = "--" + name[2:].replace("-", "_")
            bare = not equals and (kinds.get(name) is bool or following.startswith("--"))
            if bare and kinds.get(name) in (bool, bool | str):
                equals, value = "=", "true"
            elif kinds.get(name) == list[str]:
                name, value = name + "+", _quoted(value) if equals else value
            argument = name + equals + value
        (recipe if "--config" in (name, before) else normal).append(argument)
        before = "" if equals else name.removesuffix("+")
    return [*normal[:1], *recipe, *normal[1:]]


def _quoted(item: str) -> str:
    """A list of one string in YAML, which is what the parser takes values for."""
    return yaml.safe_dump([item], default_style='"', default_flow_style=True, width=math.inf)


if __name__ == "__main__":
    sys.exit(main())
