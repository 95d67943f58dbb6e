"""Compiled code is a convenience: without a compiler everything works, slower, and says so once."""

import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tmt.model.config import TMTConfig
from tmt.model.model import TMTModel
from tmt.ops import gelu, native, norm
from tmt.ops.linear import fused
from tmt.ops.mesh import attention_impl

SIZES = dict(vocab_size=32, d_model=16, n_heads=2, n_layers=3, ffn_stream_dim=16, dropout=0.0)


def two_passes() -> tuple[str, float]:
    """The path that attention takes, and the loss of a model that is asked for gradients twice."""
    torch.manual_seed(0)
    model, tokens = TMTModel(TMTConfig(**SIZES)), torch.arange(24).reshape(1, 24)
    for _ in range(2):
        loss = model(tokens, targets=tokens).loss
        loss.backward()
    return attention_impl(torch.zeros(1), 16), loss.item()


needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")


REFUSES = 'for flag in "$@"; do case "$flag" in {flags}) echo "error: unknown $flag" >&2; exit 1;; esac; done'
ODD_COMPILERS = {
    "without OpenMP": REFUSES.format(flags="-fopenmp"),
    "another name for this machine": REFUSES.format(flags="-march=native"),
    "old": REFUSES.format(flags="-fopenmp|-march=*|-mcpu=*"),
    "talkative": "echo 'warning: c\u00e9dille' >&2",
}
LACKING = REFUSES.format(flags="*.c").replace("unknown $flag", "no __builtin_convertvector in $flag")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets variables as before a process that has compiled nothing, until the test is over."""

    def change(**variables: str) -> None:
        for name, value in dict(TMT_CACHE=str(tmp_path / "cache"), **variables).items():
            monkeypatch.setenv(name, value)
        forget()

    def forget() -> None:
        native._compiler.cache_clear()
        native.load.cache_clear()
        fused._kernel.cache_clear()

    monkeypatch.setattr(native, "_told", [])
    yield change
    monkeypatch.undo()
    forget()


@pytest.fixture
def compiler(tmp_path: Path, environment: Callable[..., None]) -> Callable[[str], None]:
    """Puts a shell script before the compiler, until the test is over."""
    real = native._compiler()

    def install(script: str) -> None:
        path = tmp_path / "cc"
        path.write_text(f'#!/bin/sh\n{script}\nexec {shlex.join(real)} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        environment(CC=str(path))

    return install


@needs_compiler
@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CC", "/nonexistent/compiler", "no C compiler (/nonexistent/compiler) was found"),
        ("CFLAGS", "--no-such-option", "the C code could not be compiled"),
    ],
    ids=["no compiler", "compiler fails"],
)
def test_without_compiled_code_the_plain_path_trains_the_same(
    variable: str, value: str, reason: str, environment: Callable[..., None]
):
    fast, loss = two_passes()
    environment(**{variable: value})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        slow, plain_loss = two_passes()
    assert (fast, slow) == ("fused", "blocked")
    assert plain_loss == pytest.approx(loss, abs=1e-4)
    (warning,) = told
    assert warning.category is RuntimeWarning
    assert reason in str(warning.message)
    assert "point CC to one" in str(warning.message)


def gelu_of(rows: int) -> Tensor:
    x = torch.randn(rows, 32, generator=torch.Generator().manual_seed(0))
    return gelu.value(x, torch.linspace(0, 1, rows))


@needs_compiler
@pytest.mark.parametrize("script", ODD_COMPILERS.values(), ids=ODD_COMPILERS)
def test_an_odd_compiler_serves_without_a_word(
    script: str, compiler: Callable[[str], None], threads: Callable[[int], None]
):
    threads(2)
    expected = gelu_of(200)
    compiler(script)
    assert gelu.available(torch.zeros(1, 32))
    torch.testing.assert_close(gelu_of(200), expected, rtol=1e-6, atol=1e-6)


@needs_compiler
def test_threads_are_tried_once_and_the_rest_stays(
    compiler: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    commands, compile_ = [], native._compile
    monkeypatch.setattr(native, "_compile", lambda command: commands.append(command) or compile_(command))
    compiler(ODD_COMPILERS["without OpenMP"])
    gelu_of(3)
    assert ["-fopenmp" in command for command in commands] == [True, False]
    assert all("-march=native" in command for command in commands)
    native.load.cache_clear()
    gelu_of(3)
    assert len(commands) == 2


@needs_compiler
def test_a_compiler_that_lacks_something_is_told_of_once(compiler: Callable[[str], None]):
    compiler(LACKING)
    states = torch.zeros(1, 32)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not gelu.available(states)
        assert not norm.available(states)
        assert not gelu.available(states.bfloat16())
    (warning,) = told
    assert "could not be compiled (error: no __builtin_convertvector" in str(warning.message)


@needs_compiler
def test_sources_are_read_in_every_locale(tmp_path: Path):
    ascii_only = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", TMT_CACHE=str(tmp_path))
    program = "import torch; from tmt.ops import gelu; assert gelu.available(torch.zeros(1, 16))"
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", program]
    result = subprocess.run(command, env={**os.environ, **ascii_only}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@needs_compiler
def test_a_library_is_compiled_once_and_anew_when_a_header_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMT_CACHE", str(tmp_path / "cache"))
    source, header = tmp_path / "answer.c", tmp_path / "answer.h"
    source.write_text('#include "answer.h"\nint answer(void) { return ANSWER + MORE; }\n')
    header.write_text("#define ANSWER 41\n")
    commands, compile_ = [], native._compile
    monkeypatch.setattr(native, "_compile", lambda command: commands.append(command) or compile_(command))

    def answer() -> int:
        native.load.cache_clear()  # as another process would see it
        return native.load(source, MORE=1).answer()

    assert [answer(), answer()] == [42, 42]
    assert len(commands) == 1
    header.write_text("#define ANSWER 6\n")
    assert answer() == 7
    assert len(commands) == 2
    native.load.cache_clear()
