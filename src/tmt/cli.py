"""The command line: `tmt COMMAND …`. Builds the options of a command and calls its function."""

import dataclasses
import math
import os
import sys
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from tmt import __version__, machine
from tmt.commands.bench import BenchOptions, bench
from tmt.commands.convert import ConvertOptions, convert
from tmt.commands.data import DataOptions, data
from tmt.commands.evaluate import EvaluateOptions, evaluate
from tmt.commands.generate import GenerateOptions, generate
from tmt.commands.inspect import InspectOptions, inspect
from tmt.commands.pack import PackOptions, pack
from tmt.commands.score import ScoreOptions, score
from tmt.commands.tasks import TasksOptions, tasks
from tmt.commands.tokenizer import TokenizerOptions, tokenizer
from tmt.commands.train import train
from tmt.commands.train_options import TrainOptions
from tmt.commands.unpack import UnpackOptions, unpack
from tmt.config import readable
from tmt.errors import InputError

COMMANDS: dict[str, tuple[type, Callable[..., None]]] = {
    "train": (TrainOptions, train),
    "eval": (EvaluateOptions, evaluate),
    "score": (ScoreOptions, score),
    "generate": (GenerateOptions, generate),
    "inspect": (InspectOptions, inspect),
    "convert": (ConvertOptions, convert),
    "pack": (PackOptions, pack),
    "unpack": (UnpackOptions, unpack),
    "data": (DataOptions, data),
    "tokenizer": (TokenizerOptions, tokenizer),
    "bench": (BenchOptions, bench),
    "tasks": (TasksOptions, tasks),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 after a mistake of the user's, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        name, options, given = parse(arguments)
        machine.prepare()
        command = COMMANDS[name][1]
        command(options, given) if name == "train" else command(options)
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
    parser = _parser()
    arguments = _normalised(arguments)
    try:
        parsed = parser.parse_args(arguments)
        given = parser.parse_args(arguments, defaults=False)
    except ArgumentError as error:
        raise InputError(readable(error)) from error
    name = parsed.subcommand
    values = vars(parsed[name])
    values.pop("config", None)
    return name, COMMANDS[name][0](**values), frozenset(vars(given.get(name, Namespace())))


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    strict = dict(exit_on_error=False, allow_abbrev=False)
    parser = ArgumentParser(prog="tmt", description=__doc__, version=__version__, **strict)
    commands = parser.add_subcommands(required=True)
    for name, (options, _) in COMMANDS.items():
        command = ArgumentParser(description=options.__doc__, **strict)
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
