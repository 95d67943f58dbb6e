"""Compiled code is a convenience: without a compiler everything works, slower, and says so once."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tmt.ops import native

STEP = """
import torch, warnings
from tmt.model.config import TMTConfig
from tmt.model.model import TMTModel
from tmt.ops.mesh import attention_impl

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    torch.manual_seed(0)
    sizes = dict(vocab_size=32, d_model=16, n_heads=2, n_layers=3, ffn_stream_dim=16, dropout=0.0)
    model, tokens = TMTModel(TMTConfig(**sizes)), torch.arange(24).reshape(1, 24)
    for _ in range(2):
        loss = model(tokens, targets=tokens).loss
        loss.backward()
print(attention_impl(torch.zeros(1), 16), f"{float(loss):.5f}")
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def train_with(cache: Path, **environment: str) -> list[str]:
    """What a process prints that takes two training steps: path and loss, then its warnings."""
    settings = {**os.environ, "TMT_CACHE": str(cache), **environment}
    result = subprocess.run([sys.executable, "-c", STEP], env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C compiler")


@needs_compiler
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (dict(CC="/nonexistent/compiler"), "no C compiler (/nonexistent/compiler) was found"),
        (dict(CFLAGS="--no-such-option"), "the C code could not be compiled"),
    ],
    ids=["no compiler", "compiler fails"],
)
def test_without_compiled_code_the_plain_path_trains_the_same(
    tmp_path: Path, environment: dict[str, str], reason: str
):
    (fast,) = train_with(tmp_path / "with")
    slow, *warned = train_with(tmp_path / "without", **environment)
    assert fast.split()[0] == "fused"
    assert slow.split()[0] == "blocked"
    assert float(slow.split()[1]) == pytest.approx(float(fast.split()[1]), abs=1e-4)
    assert len(warned) == 1
    assert warned[0].startswith("RuntimeWarning")
    assert reason in warned[0]
    assert "point CC to one" in warned[0]


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="a flag of x86-64 compilers")
def test_narrower_vectors_train_the_same(tmp_path: Path):
    """Processors without AVX-512: the compiler splits the vectors."""
    (wide,) = train_with(tmp_path / "wide")
    (narrow,) = train_with(tmp_path / "narrow", CFLAGS="-mno-avx512f")
    assert narrow.split()[0] == "fused"
    assert float(narrow.split()[1]) == pytest.approx(float(wide.split()[1]), abs=1e-4)


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
