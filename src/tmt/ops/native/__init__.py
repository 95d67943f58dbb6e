"""C sources compiled once for this machine, kept in the user's cache and loaded with ctypes.

A compiler is found as everywhere: `$CC`, else ``cc``; `$CFLAGS` come after our own. Without a compiler
the caller takes its plain path and the user is told once.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.user_cache import built_whole, cache_root

FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fPIC", "-shared")
OPENMP = [()] if platform.system() == "Darwin" else [("-fopenmp",), ()]
WISHES = [(machine, *openmp) for machine in ("-march=native", "-mcpu=native") for openmp in OPENMP] + [()]
"""Flags that not every compiler takes, best first: this machine's instructions, threads. Apple's compiler has
no OpenMP (not measured)."""

ELEMENTS = (torch.float32, torch.bfloat16)
"""Types that compiled code reads and writes."""


@cache
def load(source: Path, **defines: int) -> ctypes.CDLL | None:
    """The library of a C file compiled with those macros, or None where that cannot be done.

    The file may include headers of its own folder and all sources of the operations; a change in any of
    them, in the flags, the compiler or the processor compiles anew (0.3 s).
    """
    compiler = _compiler()
    if compiler is None:
        return None
    macros = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    own = shlex.split(os.environ.get("CFLAGS", ""))
    options = [*own, f"-I{Path(__file__).parent}", *macros]
    target = cache_root() / "native" / f"{source.stem}-{_identity(compiler, options, source)}"
    try:
        if not target.exists():
            with built_whole(target) as folder:
                _build(compiler, [*options, str(source), "-o", str(folder / "library.so"), "-lm"])
        return ctypes.CDLL(str(target / "library.so"))
    except (InputError, OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        said = next((line for line in lines if "error" in line), lines[-1])
        _warn(f"the C code could not be compiled ({said})")
        return None


def library(source: Path, **defines: int) -> ctypes.CDLL:
    """The same for a caller who has made sure that it can be built; RuntimeError where it cannot."""
    loaded = load(source, **defines)
    if loaded is None:
        raise RuntimeError(f"{source.name} is not compiled on this machine; ask `load` first")
    return loaded


def element(dtype: torch.dtype) -> dict[str, int]:
    """The macro of element.h for one of `ELEMENTS`."""
    return {"BF16": int(dtype == torch.bfloat16)}


def takes(x: Tensor, source: Path, **defines: int) -> bool:
    """Whether a C file serves such a tensor: of `ELEMENTS`, on a CPU, not under `torch.compile`."""
    fits = x.dtype in ELEMENTS and x.device.type == "cpu" and not torch.compiler.is_compiling()
    return fits and load(source, **defines) is not None


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    """Address of a tensor's first element; NULL for None."""
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def threads(pieces: int) -> int:
    """Threads for that many pieces of work: as many as torch uses, but none without a piece."""
    return max(1, min(torch.get_num_threads(), pieces))


@cache
def _compiler() -> list[str] | None:
    command = shlex.split(os.environ.get("CC", "cc"))
    try:
        subprocess.run([*command, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, IndexError):
        _warn(f"no C compiler ({' '.join(command) or 'empty CC'}) was found")
        return None
    return command


def _build(compiler: list[str], options: list[str]) -> None:
    """Compile with the first of `WISHES` that the compiler grants."""
    *better, last = WISHES
    for wish in better:
        with suppress(subprocess.CalledProcessError):
            return _compile([*compiler, *FLAGS, *wish, *options])
    return _compile([*compiler, *FLAGS, *last, *options])


def _compile(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace")


def _identity(compiler: list[str], options: list[str], source: Path) -> str:
    """Hash of all that decides the machine code."""
    version = subprocess.run([*compiler, "--version"], capture_output=True).stdout
    included = sorted({*source.parent.glob("*.h"), *Path(__file__).parents[1].glob("*/*.[ch]")} - {source})
    texts = [path.read_bytes() for path in (source, *included)]
    words = [*compiler, *FLAGS, *options, str(WISHES), _processor()]
    return hashlib.sha256(b"\0".join([*map(os.fsencode, words), version, *texts])).hexdigest()[:16]


def _processor() -> str:
    """What the processor can do: a cache in a shared home serves several machines."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.machine() + platform.processor()
    lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


_told: list[str] = []


def _warn(reason: str) -> None:
    """Tell the user, of the first reason only."""
    if _told:
        return
    _told.append(reason)
    warnings.warn(
        f"{reason}: plain paths without C are used, which are slower. "
        "Install gcc or clang, or point CC to one",
        RuntimeWarning,
        stacklevel=4,
    )
