"""The weights of a run: written so that nothing is lost, and read back into a model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model import build_model
from tmt.model.base import LanguageModel
from tmt.run_folder import WEIGHTS, run_folder, trained_config
from tmt.tokens import Tokenizer, load_tokenizer
from tmt.whole_file import replaced


@dataclass
class Run:
    """A trained model, ready to use."""

    folder: Path
    """Where it came from: a run folder or an artifact."""
    config: RunConfig
    model: LanguageModel
    """In eval mode."""
    tokenizer: Tokenizer


def load_run(path: str | Path, device: str = "cpu", overrides: Sequence[str] = ()) -> Run:
    """Open a run folder or an artifact; `overrides` ("model.field=value") change fields that shape no weight.

    Raises:
        InputError: it is missing, incomplete, damaged or of another version; or no such device.
    """
    with run_folder(path) as folder:
        config = trained_config(folder, overrides)
        model = build_model(config.arch, config.model)
        load_weights(model, folder)
        return Run(Path(path), config, model.eval().to(checked_device(device)), load_tokenizer(folder))


def save_weights(model: LanguageModel, folder: Path) -> None:
    """Write model.safetensors; a failure leaves the previous one."""
    write_safely(folder / WEIGHTS, lambda temporary: save_file(model_state(model), temporary))


def load_weights(model: LanguageModel, path: Path) -> None:
    """Read the weights of a run folder or an artifact; InputError where they do not fit the model."""
    with run_folder(path) as folder:
        _read_weights(model, folder)


def _read_weights(model: LanguageModel, folder: Path) -> None:
    state = read_safely(folder / WEIGHTS, load_file)
    expected = model_state(model)
    for name in expected.keys() | state.keys():
        if name not in state or name not in expected:
            where = "missing from" if name not in state else "unknown to the model but in"
            raise InputError(f"weight {name} is {where} {folder / WEIGHTS}")
        if state[name].shape != expected[name].shape:
            shapes = f"{tuple(state[name].shape)}, the model needs {tuple(expected[name].shape)}"
            raise InputError(f"weight {name} in {folder / WEIGHTS} has shape {shapes}")
    model.load_state_dict(state, strict=False)


def write_safely(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary file, then move it into place; a failure leaves the old one.

    Missing folders are made.

    Raises:
        InputError: the file cannot be written (a full disk, no permission).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            write(temporary)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot save {path}: {error}; what was saved before is unharmed") from error


def read_safely(path: Path, read: Callable[[Path], Any]) -> Any:
    """Call `read` on a safetensors file; InputError where it is missing or damaged."""
    try:
        return read(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def read_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


def checked_device(name: str) -> torch.device:
    """The device of that name ("auto": an accelerator if there is one); InputError if it cannot be used."""
    if name == "auto":
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error


def model_state(model: LanguageModel) -> dict[str, Tensor]:
    """Parameters and buffers, a tied head counted once."""
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del state["head.weight"]
    return state
