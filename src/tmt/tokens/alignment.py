"""What the normaliser of a `tokenizer.json` makes of a text, and where each byte of that comes from."""

import copy
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

Positions = npt.NDArray[np.int64]


class Alignment:
    """The same tokenizer without merges: each of its tokens is a byte, or one of the added tokens.

    Args:
        spec: the tokenizer, as `tokenizers` writes it.
        symbols: the byte behind each symbol of the byte-level alphabet.
    """

    def __init__(self, spec: dict[str, Any], symbols: dict[str, int]) -> None:
        added = [copy.copy(token) for token in spec["added_tokens"] if not token["special"]]
        for place, token in enumerate(added):
            token["id"] = len(symbols) + place
        words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
        bare = {
            **spec,
            "truncation": None,
            "padding": None,
            "post_processor": None,
            "added_tokens": added,
            "pre_tokenizer": words,
            "model": {"type": "BPE", "vocab": symbols, "merges": []},
        }
        self._inner = tokenizers.Tokenizer.from_str(json.dumps(bare))
        self._added = [token["content"] for token in added]
        self._pieces = [bytes([value]) for value in range(256)] + [word.encode() for word in self._added]

    def __call__(self, text: str) -> tuple[bytes, Positions]:
        """The rewritten text, and where in the UTF-8 of `text` each of its bytes comes from, rising."""
        if self._leaves(text):
            raw = text.encode()
            return raw, np.arange(len(raw))
        encoding = self._inner.encode(text, add_special_tokens=False)
        pieces = [self._pieces[token] for token in encoding.ids]
        places = np.cumsum([0, *(len(character.encode()) for character in text)])
        starts = places[[start for start, _ in encoding.offsets]] if pieces else np.empty(0, dtype=np.int64)
        sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return b"".join(pieces), np.maximum.accumulate(np.repeat(starts, sizes) + inside)

    def _leaves(self, text: str) -> bool:
        """Whether the text plainly stays as it is, as most does."""
        normaliser = self._inner.normalizer
        same = normaliser is None or normaliser.normalize_str(text) == text
        return same and not any(word in text for word in self._added)
