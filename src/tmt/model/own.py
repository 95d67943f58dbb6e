"""An architecture of the user's own: a :class:`LanguageModel` and its configuration, in a file or a package.

Whatever names an architecture names it in one of three ways: a built-in name, the name of an entry point in
the group `tmt.architectures`, or ``path/to/mine.py``, with ``:Name`` behind it where the file holds several.
The class says by an annotation which configuration is its own: ``config: MyConfig``, a dataclass that extends
:class:`ModelConfig`, with a default for every field. Options of the model are its fields from then on.

This imports PyTorch, because what it loads does; built-in names never come here.
"""

import dataclasses
from importlib.metadata import EntryPoint
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from tmt.errors import InputError, reason, unknown
from tmt.model.base import LanguageModel
from tmt.model.common_config import ModelConfig
from tmt.own_code import load_file


def model_of_file(path: Path, name: str) -> type[LanguageModel]:
    """The model of that name in a file, or the only one.

    Raises:
        InputError: the file is not there, raises, or has no such model, none at all, or several.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; `tmt new {path}` writes one to begin with")
    module = load_file(path)
    if name:
        return _named(module, name, path)
    models = _models(module)
    if len(models) != 1:
        what = f"several architectures: say {path}:Name with one of {', '.join(models)}"
        raise InputError(
            f"{path} has {what if models else 'no architecture, which is a class that extends LanguageModel'}"
        )
    return next(iter(models.values()))


def model_of_package(entry: EntryPoint) -> type[LanguageModel]:
    """The model that an entry point names; InputError where it cannot be imported or is no model."""
    try:
        model = entry.load()
    except Exception as error:
        raise InputError(f"architecture {entry.name} ({entry.value}): {reason(error)}") from error
    return _checked(model, f"architecture {entry.name} ({entry.value})")


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


def _models(module: ModuleType) -> dict[str, type[LanguageModel]]:
    """The models that the module itself defines, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, LanguageModel)
        if value.__module__ == module.__name__ and not name.startswith("_") and not isabstract(value)
    }


def _named(module: ModuleType, name: str, path: Path) -> type[LanguageModel]:
    if not hasattr(module, name):
        raise unknown(f"architecture in {path}", name, _models(module))
    return _checked(getattr(module, name), f"{name} in {path}")


def _checked(model: Any, where: str) -> type[LanguageModel]:
    if not (isinstance(model, type) and issubclass(model, LanguageModel)):
        raise InputError(f"{where} is no architecture, which is a class that extends LanguageModel")
    if isabstract(model):
        raise InputError(f"{where} lacks {', '.join(sorted(model.__abstractmethods__))}")
    return model
