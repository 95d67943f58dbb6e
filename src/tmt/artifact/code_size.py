"""The source code that an artifact needs beside it: what a size limit that includes code counts."""

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import tmt
from tmt.packed.compression import best_codec, compress

ENTRIES = ("tmt.checkpoint", "tmt.evaluate", "tmt.adaptive", "tmt.generate")
"""Loading an artifact, scoring with it, plainly and adapting, writing with it."""
NATIVE = {".c", ".h"}
"""Sources that are compiled on the user's machine, counted with the folder that holds them."""
_ROOT = Path(tmt.__file__).parent


@cache
def needed_files(own: Path | None = None) -> tuple[Path, ...]:
    """Every file of this package that the entries import, directly or not, with the C sources beside them.

    With them the file of an architecture of the user's `own`, and what it imports of this package. Imports
    inside functions count too. Python, PyTorch and the other dependencies do not.
    """
    found: set[Path] = set()
    waiting = [*ENTRIES, *(() if own is None else _imports(own))]
    while waiting:
        for file in _files(waiting.pop()):
            if file not in found:
                found.add(file)
                waiting += _imports(file)
    folders = {file.parent for file in found}
    native = {file for folder in folders for file in folder.iterdir() if file.suffix in NATIVE}
    return tuple(sorted(found | native | ({own} if own else set())))


def code_bytes(compressed: bool = False, own: Path | None = None) -> int:
    """Bytes of those files as they are, UTF-8 with comments; or of all of them in one compressed archive."""
    sources = {
        file.name if file == own else str(file.relative_to(_ROOT)): file.read_text(encoding="utf-8")
        for file in needed_files(own)
    }
    if not compressed:
        return sum(len(text.encode()) for text in sources.values())
    return len(compress(json.dumps(sources, ensure_ascii=False).encode(), best_codec()))


def _files(name: str) -> Iterator[Path]:
    """The file of a module of this package and those of the packages above it; a name in one is that one."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        path = _ROOT.joinpath(*parts[1:count])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                yield file


def _imports(file: Path) -> Iterator[str]:
    """Names of this package that a file imports; the style guide has no relative imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "tmt")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tmt":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
