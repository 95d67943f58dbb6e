"""The architectures by name: configuration and model of each."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tmt.errors import unknown
from tmt.model.base import LanguageModel
from tmt.model.common_config import ModelConfig
from tmt.model.config import TMTConfig
from tmt.model.golf import Golf
from tmt.model.golf_config import GolfConfig
from tmt.model.hyena import Hyena, HyenaConfig
from tmt.model.model import TMTModel
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer
from tmt.model.transformer import Transformer, TransformerConfig
from tmt.model.triangular import TriangularConfig, TriangularMixer


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry."""

    name: str
    config: type[ModelConfig]
    model: type[LanguageModel]

    def configure(self, preset: str, overrides: dict[str, Any]) -> ModelConfig:
        """A preset with overrides; InputError names a bad field."""
        fields = {f.name for f in dataclasses.fields(self.config)}
        for name in overrides:
            if name not in fields:
                raise unknown(f"{self.name} model field", name, fields)
        return self.config.preset(preset, **overrides)


ARCHITECTURES: dict[str, Architecture] = {
    "tmt": Architecture("tmt", TMTConfig, TMTModel),
    "toeplitz": Architecture("toeplitz", ToeplitzConfig, ToeplitzMixer),
    "triangular": Architecture("triangular", TriangularConfig, TriangularMixer),
    "hyena": Architecture("hyena", HyenaConfig, Hyena),
    "golf": Architecture("golf", GolfConfig, Golf),
    "transformer": Architecture("transformer", TransformerConfig, Transformer),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name; ValueError with the nearest names otherwise."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def build_model(name: str, config: Any) -> LanguageModel:
    """A freshly initialised model."""
    return architecture(name).model(config)
