"""Writing text: sampling the next token, and the cached decoding loop."""

from tmt.generate.engine import generate_tokens
from tmt.generate.sampling import Sampler, row_generators
from tmt.generate.stop_strings import StopStrings
from tmt.generate.until import Text, generate_until

__all__ = ["Sampler", "StopStrings", "Text", "generate_tokens", "generate_until", "row_generators"]
