"""The models of the registry, by the name of their architecture."""

from collections.abc import Mapping

from tmt.model.base import LanguageModel
from tmt.model.golf import Golf
from tmt.model.hyena import Hyena
from tmt.model.model import TMTModel
from tmt.model.registry import ArchitectureName
from tmt.model.toeplitz import ToeplitzMixer
from tmt.model.transformer import Transformer
from tmt.model.triangular import TriangularMixer

MODELS: Mapping[ArchitectureName, type[LanguageModel]] = {
    "tmt": TMTModel,
    "toeplitz": ToeplitzMixer,
    "triangular": TriangularMixer,
    "hyena": Hyena,
    "golf": Golf,
    "transformer": Transformer,
}
