"""The tensors of a decoding state, whatever it is made of."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors_in(value: Any, name: str = "state") -> Iterator[tuple[str, Tensor]]:
    """(path, tensor) of every tensor in tuples, lists, mappings and the attributes of objects, in order."""
    yield from _walk(value, name, set())


def _walk(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    if isinstance(value, Mapping):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)):
        parts = list(enumerate(value))
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        parts = list(vars(value).items())
    else:
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    for key, part in parts:
        yield from _walk(part, f"{name}.{key}", seen)
