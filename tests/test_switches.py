"""Switches: every one takes the values that its help shows, and nothing else."""

import dataclasses

import pytest

from tmt.cli import COMMANDS, main, parse

SWITCHES = [
    (command, field.name)
    for command, (options, _) in COMMANDS.items()
    for field in dataclasses.fields(options)
    if field.type in (bool, bool | str)
]


@pytest.mark.parametrize(("command", "name"), SWITCHES)
def test_every_switch_is_typed_as_help_shows_it(
    command: str, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"--{name} [{{true,false" in capsys.readouterr().out
    few = {
        "generate": ["run", "--prompt=true"],
        "tasks": ["copy"],
        "bench": ["ops"],
        "study": ["file", "--out=x"],
    }
    required = few.get(command, [] if command in ("train", "data", "tokenizer") else ["run"])
    for typed, value in (
        ([f"--{name}"], True),
        ([f"--{name}", "true"], True),
        ([f"--{name}", "True"], True),
        ([f"--{name}=true"], True),
        ([f"--{name}", "false"], False),
        ([f"--{name}=false"], False),
    ):
        _, options, given = parse([command, *required, *typed])
        assert getattr(options, name) is value
        assert name in given


def test_a_switch_takes_no_other_word():
    _, options, _ = parse(["eval", "--json", "true", "run"])
    assert (options.json, options.run) == (True, "run")
    _, options, _ = parse(["eval", "--json", "run"])
    assert (options.json, options.run) == (True, "run")
    _, options, _ = parse(["generate", "run", "--prompt", "true", "--json", "false", "--prompt", "false"])
    assert (options.prompt, options.json) == (["true", "false"], False)
