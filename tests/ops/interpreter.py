"""Triton without a GPU: its interpreter, made exact in bfloat16, and its compiler, asked by a script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def correct_half_precision(patch: pytest.MonkeyPatch) -> None:
    """Triton's interpreter (3.7) truncates to bfloat16 and multiplies bfloat16 matrices by their bits."""
    import triton
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    half, single = triton.language.bfloat16, triton.language.float32
    cast, multiply = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot

    def cast_impl(self, source, target):
        if (source.dtype.scalar, target.scalar) == (single, half):
            bits = torch.from_numpy(source.data).bfloat16().view(torch.int16).numpy().view("uint16")
            return TensorHandle(bits, half)
        return cast(self, source, target)

    def create_dot(self, a, b, *rest):
        a, b = (cast(self, x, single) if x.dtype.scalar == half else x for x in (a, b))
        return multiply(self, a, b, *rest)

    patch.setattr(InterpreterBuilder, "cast_impl", cast_impl)
    patch.setattr(InterpreterBuilder, "create_dot", create_dot)


def compiled(script: str, cache: Path, amount: str) -> list[str]:
    """Lines that a script of this folder prints of the kernels it compiles, outside the interpreter.

    The amount is "few" or "all" of them.
    """
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(script), amount],
        env={**environment, "TRITON_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
