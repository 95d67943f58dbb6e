"""From what a user names to what the rules look at."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import nn

from tmt.checkpoint import Run, load_run
from tmt.errors import InputError, reason, unknown
from tmt.model import architecture
from tmt.model.base import LanguageModel
from tmt.model.own import config_of
from tmt.own_code import load_file
from tmt.verify.native import Native
from tmt.verify.plain import Plain
from tmt.verify.subject import Subject

FORMS = "a run folder, an artifact, file.py or file.py:Name, package.module:name, or hf:FOLDER"


VOCABULARY = 97
"""Tokens of an architecture that is tried without a run: as many as there are, every rule looks at."""

Model = TypeVar("Model", bound=nn.Module)


def open_target(target: str, of_run: Callable[[Run], Subject] | None = None) -> Subject:
    """The model that a target names.

    Args:
        target: a run folder, an artifact, ``file.py`` of an architecture, ``file.py:Name``,
            ``package.module:name`` (a class, a function that makes a model, or a model), or ``hf:NAME`` of a
            causal language model of `transformers`.
        of_run: the view of a run folder or an artifact; default: of its model alone.

    Raises:
        InputError: there is no such thing, it fails while it is made, or it is no language model.
    """
    if target.startswith("hf:"):
        return _from_transformers(target, target.removeprefix("hf:"))
    if target.endswith(".py"):
        return Native(_shaken(_of_config(architecture(target).model)), target)
    place, colon, name = target.rpartition(":")
    if colon and not Path(target).exists():
        made = _made(_module(place), name, target)
        return subject_of(_shaken(made) if isinstance(made, nn.Module) else made, target)
    run = load_run(target)
    return Native(run.model, target) if of_run is None else of_run(run)


def subject_of(model: Any, name: str | None = None) -> Subject:
    """The view of a model that the rules take; InputError where it is no language model."""
    if isinstance(model, Subject):
        return model
    name = type(model).__name__ if name is None else name
    if isinstance(model, LanguageModel):
        return Native(model, name)
    if not isinstance(model, nn.Module):
        raise InputError(f"{name} is a {type(model).__name__}, not a torch.nn.Module")
    transformers = sys.modules.get("transformers")
    if transformers is not None and isinstance(model, transformers.PreTrainedModel):
        from tmt.verify.huggingface import HuggingFace

        return HuggingFace(model, name)
    return Plain(model, name)


def _from_transformers(target: str, name: str) -> Subject:
    try:
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise InputError(f"{target} needs transformers: pip install transformers") from error
    from tmt.verify.huggingface import HuggingFace

    try:
        model = AutoModelForCausalLM.from_pretrained(name, dtype="auto")
    except Exception as error:
        raise InputError(f"cannot open {target}: {reason(error)}") from error
    return HuggingFace(model, target)


def _module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"there is no file {place}; a target is {FORMS}")
        return load_file(path)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        raise InputError(f"cannot import {place}: {error}; a target is {FORMS}") from error
    except Exception as error:
        raise InputError(f"importing {place} raises {type(error).__name__}: {reason(error)}") from error


def _made(module: ModuleType, name: str, target: str) -> Any:
    if not hasattr(module, name):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise unknown(f"name in {target.rpartition(':')[0]}", name, names)
    value = getattr(module, name)
    if isinstance(value, type) and issubclass(value, LanguageModel):
        return _of_config(value)
    if isinstance(value, nn.Module) or not callable(value):
        return value
    try:
        inspect.signature(value).bind()
    except TypeError as error:
        raise InputError(
            f"{target} cannot be called without arguments: {error}; name a function that can"
        ) from error
    try:
        torch.manual_seed(0)
        return value()
    except Exception as error:
        raise InputError(f"{target} raises {type(error).__name__}: {reason(error)}") from error


def _of_config(model: type[LanguageModel]) -> LanguageModel:
    torch.manual_seed(0)
    return model(config_of(model).preset("nano", vocab_size=VOCABULARY))


@torch.no_grad()
def _shaken(model: Model) -> Model:
    """The model with noise on its weights, so that a part that begins as the identity cannot hide."""
    for weight in model.parameters():
        if weight.is_floating_point():
            width = weight.shape[-1] if weight.ndim > 1 else 100
            weight.add_(torch.randn_like(weight) * width**-0.5)
    return model
