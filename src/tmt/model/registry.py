"""The architectures by name: configuration and model of each, and the user's own (:mod:`tmt.model.own`)."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from tmt.errors import unknown
from tmt.model.common_config import ModelConfig
from tmt.model.config import TMTConfig
from tmt.model.golf_config import GolfConfig
from tmt.model.hyena_config import HyenaConfig
from tmt.model.toeplitz_config import ToeplitzConfig
from tmt.model.transformer_config import TransformerConfig
from tmt.model.triangular_config import TriangularConfig
from tmt.own_code import GROUP, agreed, digest, source_of, split_place

if TYPE_CHECKING:
    from tmt.model.base import LanguageModel

ArchitectureName = Literal["tmt", "toeplitz", "triangular", "hyena", "golf", "transformer"]


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry; PyTorch is imported where its model is first asked for."""

    name: str
    """As run folders keep it: a built-in name, that of an entry point, or an absolute path and ``:Name``."""
    config: type[ModelConfig]
    own: "type[LanguageModel] | None" = None
    """The model, where it is the user's."""
    source: Path | None = None
    """The file that it is in then."""

    @property
    def label(self) -> str:
        """The name, short enough for a folder's."""
        return Path(split_place(self.name)[0]).stem if self.source else self.name

    @property
    def code(self) -> str | None:
        """SHA-256 of the user's code; None for built-in models."""
        return None if self.source is None else digest(self.source)

    def configure(self, preset: str, overrides: dict[str, Any]) -> ModelConfig:
        """A preset with overrides; InputError names a bad field."""
        self.require_fields(overrides)
        return self.config.preset(preset, **overrides)

    def require_fields(self, names: Iterable[str]) -> None:
        """InputError where one of the names is no field of the configuration."""
        fields = {f.name for f in dataclasses.fields(self.config)}
        for name in names:
            if name not in fields:
                raise unknown(f"{self.name} model field", name, fields)

    @property
    def model(self) -> "type[LanguageModel]":
        """The model that such a configuration describes."""
        if self.own is not None:
            return self.own
        from tmt.model.models import MODELS

        return MODELS[cast("ArchitectureName", self.name)]


ARCHITECTURES: dict[str, Architecture] = {
    "tmt": Architecture("tmt", TMTConfig),
    "toeplitz": Architecture("toeplitz", ToeplitzConfig),
    "triangular": Architecture("triangular", TriangularConfig),
    "hyena": Architecture("hyena", HyenaConfig),
    "golf": Architecture("golf", GolfConfig),
    "transformer": Architecture("transformer", TransformerConfig),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name; where it is the user's, its code runs.

    Raises:
        InputError: there is none, with the nearest names; or what is there is no architecture.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    path, model = split_place(name)
    if path.endswith(".py"):
        from tmt.model.own import config_of, model_of_file

        own = model_of_file(Path(path), model)
        file = Path(path).absolute()
        return Architecture(f"{file}:{own.__name__}", config_of(own), own, file)
    for entry in entry_points(group=GROUP, name=name):
        from tmt.model.own import config_of, model_of_package

        own = model_of_package(entry)
        return Architecture(name, config_of(own), own, source_of(name))
    known = {*ARCHITECTURES, *entry_points(group=GROUP).names}
    raise unknown("architecture", name, known, "(your own: a file.py)")


def admitted(name: str, code: str | None) -> Architecture:
    """The architecture that a run folder names by name and digest; code that is not agreed to does not run.

    Raises:
        InputError: as for :func:`architecture`, or the user has not agreed to that code.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if not isinstance(code, str):
        raise unknown("architecture", name, ARCHITECTURES)
    return architecture(agreed(code, name))


def build_model(name: str, config: Any) -> "LanguageModel":
    """A freshly initialised model."""
    return architecture(name).model(config)
