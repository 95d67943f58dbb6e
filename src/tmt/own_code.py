"""Code of users: a file as a module, and which code a user has agreed to run for which runs.

A run folder names its model's code by place and digest, and that alone runs nothing: the folder may come from
anywhere. The user's cache notes what was agreed to on this machine, by the digest that the run has: where the
code is, and the digest of what may run. Training with a file agrees to it, `--trust` does for any other run.
"""

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, partial
from hashlib import sha256
from importlib.metadata import entry_points
from importlib.util import find_spec
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from tmt.errors import InputError, reason, unknown
from tmt.user_cache import cache_root
from tmt.whole_file import replaced

T = TypeVar("T")

GROUP = "tmt.architectures"
"""Entry points of packages that bring an architecture."""


@dataclass(frozen=True)
class Agreement:
    """Code that may run for runs that were made with a certain digest."""

    place: str
    """An absolute path with ``:Name`` behind it, or the name of an entry point."""
    sha256: str
    """Of the source file as it was agreed to."""


def split_place(place: str) -> tuple[str, str]:
    """`mine.py:Name` to (`mine.py`, `Name`); the name is empty where there is none."""
    if place.endswith(".py"):
        return place, ""
    path, colon, name = place.rpartition(":")
    return (path, name) if colon and path.endswith(".py") else (place, "")


def source_of(place: str) -> Path:
    """The file that the code at a place is in; nothing of it is run.

    Raises:
        InputError: there is no such file and no such entry point.
    """
    path, _ = split_place(place)
    if path.endswith(".py"):
        file = Path(path).absolute()
        if not file.is_file():
            raise InputError(f"there is no file {path}")
        return file
    for entry in entry_points(group=GROUP, name=place):
        top, *rest = entry.module.split(".")  # found by hand: find_spec would run the packages above
        spec = find_spec(top)
        if spec is not None and spec.origin is not None:
            base = Path(spec.origin)
            for part in rest:
                base = (base.parent if base.name == "__init__.py" else base.with_suffix("")) / f"{part}.py"
                base = base if base.is_file() else base.with_suffix("") / "__init__.py"
            if base.is_file():
                return base
    raise InputError(f"there is no file {place} and no architecture {place} of an installed package")


def digest(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return sha256(_read(file)).hexdigest()


def class_of_file(path: Path, name: str, base: type[T], what: str, hint: str = "") -> type[T]:
    """The class of that name in a file, or the only one there that extends `base`; the file runs.

    Args: `what` such a class is called, and a `hint` where there is no file.

    Raises:
        InputError: the file is not there, raises, or has no such class, none at all, or several.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}{hint}")
    module = load_file(path)
    found = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base)
        if value.__module__ == module.__name__ and not key.startswith("_") and not isabstract(value)
    }
    if name:
        if not hasattr(module, name):
            raise unknown(f"{what} in {path}", name, found)
        return checked_class(getattr(module, name), f"{name} in {path}", base, what)
    if len(found) != 1:
        several = f"several {what}s: say {path}:Name with one of {', '.join(found)}"
        none = f"no {what}, which is a class that extends {base.__name__}"
        raise InputError(f"{path} has {several if found else none}")
    return next(iter(found.values()))


def checked_class(value: Any, where: str, base: type[T], what: str) -> type[T]:
    """The class that a value is; InputError where it does not extend `base`, or not wholly."""
    if not (isinstance(value, type) and issubclass(value, base)):
        raise InputError(f"{where} is no {what}, which is a class that extends {base.__name__}")
    if isabstract(value):
        missing = ", ".join(sorted(vars(value)["__abstractmethods__"]))
        raise InputError(f"{where} lacks {missing}")
    return value


def load_file(file: Path) -> ModuleType:
    """Run a Python file as a module; the same bytes at the same place are run once.

    Raises:
        InputError: it cannot be read, imports what lies beside it, or raises.
    """
    return _run(file.absolute(), _read(file))


@cache
def _run(file: Path, content: bytes) -> ModuleType:
    module = ModuleType(f"{file.stem}_{sha256(content).hexdigest()[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses and type hints look a class's module up there
    try:
        tree = ast.parse(content, file)
        beside = next(filter(partial(_lies_beside, file.parent.resolve()), _imported(tree)), None)
        if beside is not None:
            raise ImportError(
                f"{beside} lies beside it, and a run would not notice when that changed; put what you need "
                "into the file, or install it as a package"
            )
        exec(compile(tree, file, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise InputError(f"importing {file} raises {type(error).__name__}: {reason(error)}") from error
    return module


def _imported(tree: ast.Module) -> Iterator[str]:
    """The modules, without what is below them, that code imports somewhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


def _lies_beside(folder: Path, name: str) -> bool:
    """Whether a module is in that folder, and is what `import` finds or would find from there."""
    beside = {folder / name, folder / f"{name}.py"}
    if not any(path.exists() for path in beside):
        return False
    spec = find_spec(name)
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
    return spec is None or not beside.isdisjoint(Path(place).resolve() for place in places)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def agree(recorded: str, place: str) -> None:
    """Let the code that is at a place now run for runs that were made with the digest `recorded`."""
    agreement = Agreement(place, digest(source_of(place)))
    for known in {recorded, agreement.sha256}:
        note = _note(known)
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            with replaced(note) as temporary:
                temporary.write_text(json.dumps(asdict(agreement)), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"cannot note {note}: {error.strerror}; set TMT_CACHE to another folder"
            ) from error


def agreed(recorded: str, place: str) -> str:
    """Where the code is that may run for a run that was made with this digest at this place.

    Raises:
        InputError: nothing was agreed to, or what was is gone or has changed; the line says which.
    """
    file = split_place(place)[0]
    try:
        agreement = Agreement(**json.loads(_note(recorded).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"its model is the code of {place}, which has not been agreed to here; read it, "
            f"then have it run with --trust {file}"
        ) from error
    file = split_place(agreement.place)[0]
    try:
        now = digest(source_of(agreement.place))
    except InputError as error:
        raise InputError(f"its model was the code of {file}, which is gone; say --trust FILE.py") from error
    if now != agreement.sha256:
        raise InputError(
            f"its model is the code of {file}, which has changed since; run it as it is with --trust {file}"
        )
    return agreement.place


def _note(recorded: str) -> Path:
    if not (len(recorded) == 64 and set(recorded) <= set("0123456789abcdef")):
        raise InputError(f"{recorded!r} is no digest of code")
    return cache_root() / "agreed" / f"{recorded}.json"
