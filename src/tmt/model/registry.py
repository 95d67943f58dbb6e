"""The architectures by name: configuration and model of each."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tmt.errors import unknown
from tmt.model.common_config import ModelConfig
from tmt.model.config import TMTConfig
from tmt.model.golf_config import GolfConfig
from tmt.model.hyena_config import HyenaConfig
from tmt.model.toeplitz_config import ToeplitzConfig
from tmt.model.transformer_config import TransformerConfig
from tmt.model.triangular_config import TriangularConfig

if TYPE_CHECKING:
    from tmt.model.base import LanguageModel

ArchitectureName = Literal["tmt", "toeplitz", "triangular", "hyena", "golf", "transformer"]


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry; PyTorch is imported where its model is first asked for."""

    name: ArchitectureName
    config: type[ModelConfig]

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
        from tmt.model.models import MODELS

        return MODELS[self.name]


ARCHITECTURES: dict[str, Architecture] = {
    "tmt": Architecture("tmt", TMTConfig),
    "toeplitz": Architecture("toeplitz", ToeplitzConfig),
    "triangular": Architecture("triangular", TriangularConfig),
    "hyena": Architecture("hyena", HyenaConfig),
    "golf": Architecture("golf", GolfConfig),
    "transformer": Architecture("transformer", TransformerConfig),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name; ValueError with the nearest names otherwise."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def build_model(name: str, config: Any) -> "LanguageModel":
    """A freshly initialised model."""
    return architecture(name).model(config)
