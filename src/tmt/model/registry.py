"""The architectures by name: configuration, model and presets of each."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from tmt.errors import unknown
from tmt.model import config as tmt_config
from tmt.model import transformer
from tmt.model.base import LanguageModel
from tmt.model.model import TMTModel


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry."""

    name: str
    config: type
    model: type[LanguageModel]
    presets: dict[str, dict]

    def configure(self, preset: str | None, overrides: dict[str, Any]):
        """A preset (or the class defaults) with overrides; InputError names a bad field."""
        fields = {f.name for f in dataclasses.fields(self.config)}
        for name in overrides:
            if name not in fields:
                raise unknown(f"{self.name} model field", name, fields)
        if preset is None:
            return self.config(**overrides)
        return self.config.preset(preset, **overrides)


ARCHITECTURES: dict[str, Architecture] = {
    "tmt": Architecture("tmt", tmt_config.TMTConfig, TMTModel, tmt_config.PRESETS),
    "transformer": Architecture(
        "transformer", transformer.TransformerConfig, transformer.Transformer, transformer.PRESETS
    ),
}


def architecture(name: str) -> Architecture:
    """The architecture of that name; ValueError with the nearest names otherwise."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def build_model(name: str, config: Any) -> LanguageModel:
    """A freshly initialised model."""
    return architecture(name).model(config)
