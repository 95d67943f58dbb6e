"""Tiny models whose blocks do something (fresh ones start as the identity) and a small tokenised corpus."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tmt.model import architecture, build_model
from tmt.model.base import LanguageModel
from tmt.model.config import TMTConfig
from tmt.model.transformer import TransformerConfig
from tmt.tokens import Tokenizer, make_tokenizer

BYTES = make_tokenizer("bytes")

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hierarchical": dict(exact_until=12, graph_block=4, k_global=1),
    "decay": dict(decay="distance"),
    "forget": dict(decay="data", channel_decay=True),
    "no exits": dict(exit_objective="none"),
    "project": dict(exited_kv="project", landing_layers=0),
    "dense": dict(dense_layers=(3,), memory_anchors=0, decay="none"),
}


MIXERS = ("toeplitz", "triangular", "hyena")


def tiny(variant: str = "plain", vocab_size: int = BYTES.vocab_size, **overrides: Any) -> LanguageModel:
    """In eval mode; another architecture by name, or a TMT of a variant: tokens leave it at every gate."""
    sizes = dict(vocab_size=vocab_size, max_seq_len=64, d_model=16, n_heads=2, n_layers=4, dropout=0.0)
    if variant == "transformer":
        model = build_model("transformer", TransformerConfig(**{**sizes, "ffn_dim": 24, **overrides}))
    elif variant in MIXERS:
        kernels = dict(kernel_length=48, ffn_dim=24, n_layers=2)
        config = architecture(variant).config(**{**sizes, **kernels, **overrides})
        model = build_model(variant, config)
    else:
        mesh = dict(graph_k=2, local_window=3, routing_dim=8, ffn_stream_dim=12, memory_anchors=3)
        exits = dict(exit_threshold=0.5, entry_layers=1)
        model = build_model("tmt", TMTConfig(**{**sizes, **mesh, **exits, **VARIANTS[variant], **overrides}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model.eval()


@dataclass
class Splits:
    """What commands need of `tmt.tokens.TokenSplits`."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def stream(*documents: str, tokenizer: Tokenizer = BYTES) -> np.ndarray:
    """The documents as a token stream."""
    ids = (token for text in documents for token in (tokenizer.eot_id, *tokenizer.encode(text)))
    return np.array(list(ids), dtype=np.int64)
