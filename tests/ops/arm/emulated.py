"""C kernels compiled for 64-bit ARM, whose functions run in an emulator on the tensors of the caller."""

import ctypes
import gc
import shutil
import struct
import subprocess
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tmt.ops import native

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-static")
BASE = 1 << 32
"""Where the arguments and the memory lie in the emulated process."""
_MOST = 16  # arguments of a function


def available() -> bool:
    return all(shutil.which(program) for program in (COMPILER, EMULATOR))


class Library:
    """What :func:`tmt.ops.native.load` gives, for ARM."""

    def __init__(self, folder: Path, source: Path, **defines: int):
        self._folder, self._source, self._defines = folder, source, defines

    def __getattr__(self, name: str) -> "Function":
        macros = [f"-D{key}={value}" for key, value in self._defines.items()]
        program = self._folder / "-".join([self._source.stem, name, *macros])
        if not program.exists():
            include = f"-I{Path(native.__file__).parent}"
            sources = map(str, (Path(__file__).with_name("call.c"), self._source))
            command = [COMPILER, *FLAGS, *macros, f"-DBASE={BASE}L", f"-DFUNCTION={name}", include, *sources]
            subprocess.run([*command, "-o", str(program), "-lm"], check=True)
        return Function(program)


class Function:
    """One of its functions, called as those of ctypes are."""

    argtypes: Iterable[Any] = ()
    restype: Any = None

    def __init__(self, program: Path):
        self._program = program

    def __call__(self, *arguments: Any) -> None:
        typed = [kind(x) for kind, x in zip(self.argtypes, arguments, strict=False)] or arguments
        memory = Memory()
        whole = [memory.place(x) for x in typed if not isinstance(x, ctypes.c_float)]
        real = sum(x.value for x in typed if isinstance(x, ctypes.c_float))
        whole += [0] * (_MOST - len(whole))
        file = self._program.with_suffix(".memory")
        file.write_bytes(struct.pack(f"{_MOST}qd", *whole, real) + memory.image)
        subprocess.run([EMULATOR, str(self._program), str(file)], check=True)
        memory.take_back(file.read_bytes()[_HEADER:])


_HEADER = 8 * (_MOST + 1)


class Memory:
    """The storages of all tensors that a call reads or writes, one behind the other."""

    def __init__(self) -> None:
        self.image = b""
        self._places: dict[int, tuple[int, int]] = {}  # by its address here: place and size

    def place(self, argument: Any) -> int:
        """An integer argument of the emulated function: a number, or where what it points to now lies."""
        if hasattr(argument, "_obj"):  # byref of a structure
            return self._append(bytes(self._translated(argument._obj)))
        if isinstance(argument, ctypes.c_void_p):
            return self._address(argument.value)
        return argument.value if isinstance(argument, ctypes._SimpleCData) else argument

    def take_back(self, image: bytes) -> None:
        for address, (place, size) in self._places.items():
            ctypes.memmove(address, image[place - BASE - _HEADER :][:size], size)

    def _append(self, content: bytes) -> int:
        self.image += bytes(-(_HEADER + len(self.image)) % 64)
        place = BASE + _HEADER + len(self.image)
        self.image += content
        return place

    def _translated(self, structure: ctypes.Structure) -> ctypes.Structure:
        """A copy whose pointers are those of the emulated process."""
        copy = type(structure).from_buffer_copy(structure)
        for name, kind, *_ in structure._fields_:
            if kind is ctypes.c_void_p:
                setattr(copy, name, self._address(getattr(structure, name)))
        return copy

    def _address(self, address: int | None) -> int:
        if not address:
            return 0
        start, size = _storage_at(address)
        if start not in self._places:
            self._places[start] = self._append(ctypes.string_at(start, size)), size
        return self._places[start][0] + address - start


def _storage_at(address: int) -> tuple[int, int]:
    """Start and size of the memory of the tensor that an address belongs to."""
    for tensor in gc.get_objects():
        if type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu":
            storage = tensor.untyped_storage()
            if storage.data_ptr() <= address < storage.data_ptr() + storage.nbytes():
                return storage.data_ptr(), storage.nbytes()
    raise LookupError(f"no tensor lies at address {address}")


def load(folder: Path) -> Any:
    """Takes the place of :func:`tmt.ops.native.load`; programs are kept in `folder`."""
    return partial(Library, folder)
