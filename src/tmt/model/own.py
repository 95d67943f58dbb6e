"""An architecture of the user's own: a :class:`LanguageModel` and its configuration, in a file or a package.

Whatever names an architecture names it in one of three ways: a built-in name, the name of an entry point in
the group `tmt.architectures`, or ``path/to/mine.py``, with ``:Name`` behind it where the file holds several.
The class says by an annotation which configuration is its own: ``config: MyConfig``, a dataclass that extends
:class:`ModelConfig`, with a default for every field. Options of the model are its fields from then on.

This imports PyTorch, because what it loads does; built-in names never come here.
"""

import dataclasses
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, get_type_hints

from tmt.errors import InputError, reason
from tmt.model.base import LanguageModel
from tmt.model.common_config import ModelConfig
from tmt.own_code import checked_class, class_of_file


def model_of_file(path: Path, name: str) -> type[LanguageModel]:
    """The model of that name in a file, or the only one; InputError as of :func:`class_of_file`."""
    hint = f"; `tmt new {path}` writes one to begin with"
    return class_of_file(path, name, LanguageModel, "architecture", hint)


def model_of_package(entry: EntryPoint) -> type[LanguageModel]:
    """The model that an entry point names; InputError where it cannot be imported or is no model."""
    try:
        model = entry.load()
    except Exception as error:
        raise InputError(f"architecture {entry.name} ({entry.value}): {reason(error)}") from error
    return checked_class(model, f"architecture {entry.name} ({entry.value})", LanguageModel, "architecture")


def config_of(model: type[LanguageModel]) -> type[ModelConfig]:
    """The configuration that a model is annotated with; InputError where it cannot be used as one."""
    try:
        config: Any = get_type_hints(model)["config"]
    except Exception as error:
        raise InputError(f"the annotations of {model.__name__} cannot be read: {reason(error)}") from error
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise InputError(
            f"{model.__name__} does not say which configuration it has; annotate it with "
            "`config: MyConfig`, a dataclass that extends ModelConfig"
        )
    if "__dataclass_fields__" not in vars(config):
        raise InputError(
            f"{config.__name__} is not a dataclass; write @dataclass(frozen=True, kw_only=True) above it"
        )
    for field in dataclasses.fields(config):
        if field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{config.__name__}.{field.name} has no default; give it one")
    return config
