"""Writing text: sampling the next token, and the cached decoding loop."""

from tmt.generate.engine import generate_tokens
from tmt.generate.sampling import Sampler, row_generators

__all__ = ["Sampler", "generate_tokens", "row_generators"]
