"""The dense baseline as a stock Qwen3 of `transformers`, and back: the same function under other names."""

from tmt.qwen3.reading import read_qwen3
from tmt.qwen3.writing import write_qwen3

__all__ = ["read_qwen3", "write_qwen3"]
