"""What reaches a terminal: control characters as escapes, and only there."""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_runs import Result
from tmt import terminal
from tmt.commands import generate as module
from tmt.commands.report import PlainConsole, tell
from tmt.errors import InputError

pytest_plugins = ["command_line"]

HOSTILE = "a\x1b[2J\x1b]0;title\x07\r\x9b31m\x7f\0é\tb\nc"
HARMLESS = "a\\x1b[2J\\x1b]0;title\\x07\\r\\x9b31m\\x7f\\x00é\tb\nc"


def test_control_characters_are_made_visible():
    assert terminal.visible(HOSTILE) == HARMLESS
    assert terminal.visible("a\tb\nc", keep="") == "a\\tb\\nc"


@given(st.text())
def test_what_is_visible_is_obeyed_by_no_terminal(text: str):
    shown = terminal.visible(text)
    assert all(
        character in "\n\t" or not 0 <= ord(character) % 128 < 32 or ord(character) > 159
        for character in shown
    )
    assert "\x7f" not in shown
    assert terminal.visible(shown) == shown


@given(st.text(st.characters(codec="utf-8")))
def test_what_was_typed_is_read_in_every_locale(text: str):
    assert terminal.typed(text) == text
    assert terminal.typed(text.encode().decode("ascii", "surrogateescape")) == text


def test_what_an_encoding_lacks_is_written_as_an_escape(monkeypatch: pytest.MonkeyPatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.prepare()
    print("naïve 漢", flush=True)
    assert stream.buffer.getvalue() == b"na\\xefve \\u6f22\n"


def test_streams_that_cannot_be_changed_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    terminal.prepare()


@pytest.fixture(params=[True, False])
def is_terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether stdout passes for a terminal."""
    stream = SimpleNamespace(isatty=lambda: request.param)
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stdout=stream, stderr=stream))
    return request.param


@pytest.mark.parametrize("prompts", [["x"], ["x", "y"]])
def test_generated_text_reaches_a_terminal_harmless_and_a_file_as_it_is(
    prompts: list[str], is_terminal: bool, trained: Path, tmt: Callable[..., Result], monkeypatch
):
    def steps(model, rows: list, **options):
        return ([byte] * len(rows) for byte in HOSTILE.encode())

    monkeypatch.setattr(module, "generate_tokens", steps)
    result = tmt("generate", trained, "--device=cpu", *(f"--prompt={prompt}" for prompt in prompts))
    assert f"{prompts[-1]}{HARMLESS if is_terminal else HOSTILE}\n" in result.out
    assert ("\x1b" in result.out) == (not is_terminal)


def test_the_sample_of_a_run_is_harmless_too(
    is_terminal: bool, train: Callable[..., Result], tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("tmt.commands.summary._sample", lambda run, splits: HOSTILE)
    result = train(tmp_path / "run", "--steps=1")
    assert f"sample: {HARMLESS if is_terminal else HOSTILE}\n" in result.out


def test_names_in_tables_are_text(
    is_terminal: bool, corpus: Path, tmp_path: Path, tmt: Callable[..., Result]
):
    """Neither markup of rich nor an emoji's name nor an escape sequence."""
    file = tmp_path / "[" / "red]:smile:\x1b[31m[" / "b].txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(corpus.read_bytes())
    result = tmt("data", f"--data={file}", "--tokenizer=bytes")
    printed = "".join(result.out.split())
    assert ("[/red]:smile:\\x1b[31m[/b].txt" if is_terminal else "[/red]:smile:\x1b[31m[/b].txt") in printed


def test_a_table_is_what_it_was(capsys: pytest.CaptureFixture[str]):
    PlainConsole().print("[red]12 :smile:")
    assert capsys.readouterr().out == "[red]12 :smile:\n"


def test_messages_are_harmless_and_errors_one_line(capsys, tmt: Callable[..., Result], monkeypatch):
    tell(HOSTILE)
    assert capsys.readouterr().err == HARMLESS + "\n"
    assert "no such file or folder: ./a\\nb\\x1b[2J.txt" in tmt("data", "--data=./a\nb\x1b[2J.txt").complaint

    def refused(options) -> None:
        raise InputError("one\ntwo\rthree")

    monkeypatch.setattr("tmt.commands.data.data", refused)
    assert tmt("data").complaint == "one\\ntwo\\rthree"
