"""A folder that `transformers` opens by itself, made of a run of the dense baseline."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers, processors
from torch import Tensor

from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model.transformer_config import TransformerConfig
from tmt.qwen3.names import to_shape, weight_names
from tmt.tokens import Tokenizer
from tmt.tokens.byte_level import SEPARATOR, BPETokenizer, ByteTokenizer, byte_of_symbol

OURS = "tmt"
"""Folder in the folder: the run's own configuration and tokenizer, to open it as the run again."""


def write_qwen3(
    folder: Path, config: RunConfig, weights: Mapping[str, Tensor], tokenizer: Tokenizer, card: str
) -> None:
    """Fill a folder: weights, configuration, tokenizer, how to generate, and the card as README.md.

    Args:
        folder: an empty one.
        config: of a run of the dense baseline.
        weights: by our names, a tied head left out.
        tokenizer: of the run.
        card: Markdown.

    Raises:
        InputError: the model or its tokenizer has no such form.
        OSError: the folder cannot be written.
    """
    model: TransformerConfig = config.model
    whole = tokenizer_of(tokenizer, config.data.tokenizer)
    separator = next(t.content for i, t in whole.get_added_tokens_decoder().items() if i == tokenizer.eot_id)
    ends = {"bos_token_id": tokenizer.eot_id, "eos_token_id": tokenizer.eot_id}
    names = weight_names(model)
    renamed = {theirs: weights[ours].contiguous() for ours, theirs in names.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    whole.save(str(folder / "tokenizer.json"))
    _write(folder / "config.json", {**to_shape(model), **ends, "torch_dtype": "float32"})
    _write(folder / "generation_config.json", {**ends, "pad_token_id": tokenizer.eot_id})
    _write(folder / "tokenizer_config.json", _tokenizer_config(separator, model.max_seq_len))
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / OURS).mkdir()
    config.save(folder / OURS)
    tokenizer.save(folder / OURS)


def tokenizer_of(tokenizer: Tokenizer, name: str) -> tokenizers.Tokenizer:
    """A tokenizer of `tokenizers` that gives the same ids, behind the separator that begins a document.

    Raises:
        InputError: it has no such form.
    """
    if isinstance(tokenizer, ByteTokenizer):
        inner = tokenizers.Tokenizer(models.BPE(vocab=dict(byte_of_symbol()), merges=[]))
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.decoder = decoders.ByteLevel()
        inner.add_special_tokens([SEPARATOR])
    elif isinstance(tokenizer, BPETokenizer):
        inner = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    else:
        raise InputError(
            f"the tokenizer {name} has no form that transformers reads; export a run with bpe:N or bytes"
        )
    separator = inner.id_to_token(tokenizer.eot_id)
    inner.post_processor = processors.TemplateProcessing(
        single=f"{separator} $A", special_tokens=[(separator, tokenizer.eot_id)]
    )
    return inner


def _tokenizer_config(separator: str, longest: int) -> dict[str, Any]:
    """Text that spells the separator stays text; prompts of a batch end together."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": separator,
        "eos_token": separator,
        "pad_token": separator,
        "model_max_length": longest,
        "padding_side": "left",
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
