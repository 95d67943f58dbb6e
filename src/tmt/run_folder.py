"""The run folder without its weights: configuration and tokenizer, read and written without PyTorch.

Only an artifact is unpacked with it.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from tmt.config import FORMAT, DataConfig, OptimConfig, RunConfig, TrainConfig, build
from tmt.errors import InputError
from tmt.model.checks import require_effect
from tmt.model.registry import ARCHITECTURES, admitted
from tmt.overrides import model_overrides
from tmt.own_code import agree, agreed, source_of, split_place

if TYPE_CHECKING:
    from tmt.tokens import Tokenizer

CONFIG = "config.yaml"
WEIGHTS = "model.safetensors"
METRICS = "metrics.jsonl"
SOURCE = "architecture.py"
"""A copy of the user's own architecture, to be read; it never runs from here."""
STATE = "last/training.safetensors"
"""The full training state."""


@contextmanager
def run_folder(path: str | Path) -> Iterator[Path]:
    """The run folder at `path`; for an artifact or a Qwen3 of `transformers` a temporary one of its content.

    Raises:
        InputError: the artifact is damaged or of a newer version, or the Qwen3 is no dense baseline.
    """
    path = Path(path)
    if path.is_file():
        from tmt.packed import unpack as fill
    elif must_be_opened(path):
        from tmt.qwen3 import read_qwen3 as fill
    else:
        yield path
        return
    with TemporaryDirectory(prefix="tmt-") as folder:
        fill(path, Path(folder))
        yield Path(folder)


def must_be_opened(path: str | Path) -> bool:
    """Whether what is there is no run folder but can become one: a file, or a folder of `transformers`."""
    path = Path(path)
    return path.is_file() or ((path / "config.json").is_file() and not (path / CONFIG).exists())


def trained_config(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run folder with weights; `overrides` as for :func:`tmt.checkpoint.load_run`.

    Raises:
        InputError: the folder is missing, incomplete, damaged or of another version, or an override is bad.
    """
    config = _read_config(folder)
    if overrides:
        config = _overridden(config, overrides)
    _require_file(folder, WEIGHTS, "the run has no saved weights yet; let it train further with --resume")
    return config


def check_run(path: str | Path, overrides: Sequence[str] = ()) -> None:
    """Refuse a run folder as :func:`trained_config` does; anything else is read when it is opened."""
    if not must_be_opened(path):
        trained_config(Path(path), overrides)


def _overridden(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    changed = model_overrides(overrides, "a trained run")
    fields = {**dataclasses.asdict(config.model), **changed}
    model = build(type(config.model), fields, f"{config.arch} model")
    require_effect(model, changed, "model")
    return dataclasses.replace(config, model=model)


def trust(path: str | Path, place: str) -> None:
    """Let a run's model be the code at a place, a file or an entry point, from now on and for this user.

    Nothing runs. A place without a name means the name that the run has.

    Raises:
        InputError: there is no such run or code, or the run's model is one of this library's.
    """
    with run_folder(path) as folder:
        content = _content(folder)
    arch, code = content.get("arch"), content.get("code")
    if not isinstance(arch, str) or not isinstance(code, str) or arch in ARCHITECTURES:
        raise InputError(f"--trust has no effect: {path} has no code of its own; leave it out")
    file, name = split_place(place)
    if file.endswith(".py"):
        file, name = str(Path(file).absolute()), name or split_place(arch)[1]
    agree(code, f"{file}:{name}" if name else file)


def asks_for_trust(path: str | Path) -> bool:
    """Whether a run has code of its own that may not run as things are; InputError where there is no run."""
    with run_folder(path) as folder:
        content = _content(folder)
    if content.get("arch") in ARCHITECTURES or not isinstance(content.get("code"), str):
        return False
    try:
        agreed(content["code"], str(content["arch"]))
    except InputError:
        return True
    return False


def load_config(path: str | Path) -> RunConfig:
    """The configuration of a run folder or an artifact.

    Raises:
        InputError: it is missing, damaged or of another version.
    """
    with run_folder(path) as folder:
        return _read_config(folder)


def load_run_tokenizer(path: str | Path) -> "Tokenizer":
    """The tokenizer of a run folder or an artifact; InputError where it is missing or damaged."""
    from tmt.tokens import load_tokenizer

    with run_folder(path) as folder:
        return load_tokenizer(folder)


def _read_config(folder: Path) -> RunConfig:
    content, path = _content(folder), folder / CONFIG
    try:
        arch = admitted(content["arch"], content.get("code"))
        return RunConfig(
            arch=arch.name,
            preset=content["preset"],
            recipe=content["recipe"],
            model=build(arch.config, {**arch.config.ABSENT, **content["model"]}, "model"),
            data=build(DataConfig, content["data"], "data"),
            optim=build(OptimConfig, content["optim"], "optim"),
            train=build(TrainConfig, content["train"], "train"),
            init_from=content["init_from"],
            corpus=content.get("corpus"),
            code=arch.code,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error!r}") from error


def _content(folder: Path) -> dict[str, Any]:
    """What the configuration of a run folder says, unchecked but for its version."""
    if not folder.is_dir():
        raise InputError(f"there is no run folder {folder}; make one with `tmt train --out {folder}`")
    path = _require_file(folder, CONFIG, "is this the folder that `tmt train --out` named?")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        version = content.pop("format")
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error!r}") from error
    if version != FORMAT:
        raise InputError(f"{path}: run format {version} is unknown; this version of tmt reads {FORMAT}")
    return content


def require_new_run(folder: Path) -> None:
    """InputError where a run cannot begin in that folder: it holds one or a part of one, or is no folder."""
    if (folder / CONFIG).exists():
        raise InputError(
            f"{folder} holds a run already; name another folder with --out, or train it with --resume"
        )
    for name in (WEIGHTS, METRICS, STATE):
        if (folder / name).exists():
            raise InputError(
                f"{folder} holds the {name} of a run without its {CONFIG}; name another folder with --out"
            )
    require_writable(folder / CONFIG)


def require_history(folder: Path) -> None:
    """InputError where a folder holds weights alone, converted or unpacked there: no training to resume."""
    if (folder / WEIGHTS).exists() and not any((folder / name).exists() for name in (STATE, METRICS)):
        raise InputError(
            f"{folder} holds weights but no training to resume; start from them with --init-from {folder}"
        )


def require_writable(path: Path) -> None:
    """InputError where no file can be made at that path; folders on the way may be missing."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        what = f"{path} is a folder" if path.is_dir() else f"{folder} is no folder that can be written"
        raise InputError(f"cannot write {path}: {what}")


def create_folder(folder: Path, config: RunConfig, tokenizer: "Tokenizer") -> None:
    """Make a run folder without weights; InputError where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save(folder)
        config.save(folder)
        if config.code is not None:
            (folder / SOURCE).write_bytes(source_of(config.arch).read_bytes())
            agree(config.code, config.arch)
    except OSError as error:
        raise InputError(f"cannot write the run folder {folder}: {error.strerror}") from error


def _require_file(folder: Path, name: str, hint: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"run folder {folder} is incomplete: it has no {name}; {hint}")
    return path
