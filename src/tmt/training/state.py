"""The full training state in one file without pickle: safetensors, with the rest as JSON in its header."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tmt.checkpoint import read_safely, read_with_metadata, write_safely
from tmt.errors import InputError

_TENSOR, _ITEMS = "tensor:", "items:"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts and lists of tensors, numbers, strings and None; a failure leaves the old file."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_flatten(state, "", tensors))
    write_safely(path, lambda temporary: save_file(tensors, temporary, {"state": skeleton}))


def load_state(path: Path) -> dict[str, Any]:
    """What :func:`save_state` wrote; InputError where the file is missing or damaged."""
    tensors, metadata = read_safely(path, read_with_metadata)
    try:
        return _restore(json.loads(metadata["state"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} holds no training state, or a damaged one") from error


def _flatten(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_TENSOR: path}
    if isinstance(value, dict):
        return {_ITEMS: [[key, _flatten(item, f"{path}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_flatten(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
    return value


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _restore(item, tensors) for key, item in value[_ITEMS]}
    return value
