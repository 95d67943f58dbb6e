"""TemporalMesh Transformer and its peers: efficient language models, honestly built and compared.

What most scripts need is here and is imported when it is first asked for: :func:`load` opens a trained model,
and each architecture has its model and its configuration.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tmt.errors import InputError
    from tmt.loaded import LoadedRun, load
    from tmt.model.config import TMTConfig
    from tmt.model.golf import Golf
    from tmt.model.golf_config import GolfConfig
    from tmt.model.hyena import Hyena
    from tmt.model.hyena_config import HyenaConfig
    from tmt.model.model import TMTModel
    from tmt.model.toeplitz import ToeplitzMixer
    from tmt.model.toeplitz_config import ToeplitzConfig
    from tmt.model.transformer import Transformer
    from tmt.model.transformer_config import TransformerConfig
    from tmt.model.triangular import TriangularMixer
    from tmt.model.triangular_config import TriangularConfig

__version__ = "0.1.0"

__all__ = [
    "Golf",
    "GolfConfig",
    "Hyena",
    "HyenaConfig",
    "InputError",
    "LoadedRun",
    "TMTConfig",
    "TMTModel",
    "ToeplitzConfig",
    "ToeplitzMixer",
    "Transformer",
    "TransformerConfig",
    "TriangularConfig",
    "TriangularMixer",
    "load",
]

_PLACES = {
    "errors": ("InputError",),
    "loaded": ("LoadedRun", "load"),
    "model.config": ("TMTConfig",),
    "model.golf_config": ("GolfConfig",),
    "model.hyena_config": ("HyenaConfig",),
    "model.models": ("Golf", "Hyena", "TMTModel", "ToeplitzMixer", "Transformer", "TriangularMixer"),
    "model.toeplitz_config": ("ToeplitzConfig",),
    "model.transformer_config": ("TransformerConfig",),
    "model.triangular_config": ("TriangularConfig",),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"tmt.{module}"), name)
    raise AttributeError(f"module 'tmt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
