"""The dense transformer of the `transformers` library in our baseline's shape; nothing is downloaded."""

from importlib.util import find_spec
from typing import Any, cast

from torch import Tensor, nn

from tmt.model.base import LanguageModel, ModelOutput
from tmt.model.transformer_config import TransformerConfig

NAME = "transformers Llama"


def installed() -> bool:
    """Whether `transformers` can be imported."""
    return find_spec("transformers") is not None


def build(config: Any) -> LanguageModel:
    """A model of the sizes of a :class:`TransformerConfig`."""
    return cast("LanguageModel", Llama(config))


class Llama(nn.Module):
    """LlamaForCausalLM behind the calls that are timed of a :class:`tmt.model.base.LanguageModel`."""

    def __init__(self, config: TransformerConfig):
        from transformers import LlamaConfig, LlamaForCausalLM

        super().__init__()
        self.config = config
        shape = LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.ffn_dim,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            num_key_value_heads=config.n_heads,
            max_position_embeddings=config.max_seq_len,
            rms_norm_eps=config.layer_norm_eps,
            tie_word_embeddings=config.tie_embeddings,
        )
        self.llama = LlamaForCausalLM(shape)

    def forward(
        self,
        tokens: Tensor,
        state: Any = None,
        *,
        targets: Tensor | None = None,
        last_only: bool = False,
        return_state: bool = False,
        return_diagnostics: bool | None = None,
    ) -> ModelOutput:
        """As a LanguageModel; the state is a cache of `transformers`, filled in place. Its own loss."""
        from transformers import DynamicCache

        cache: Any = DynamicCache() if state is None and return_state else state
        output = self.llama(
            *(tokens, None, None, cache),  # by position: releases before 5.24 name the last `past_key_values`
            use_cache=cache is not None,
            logits_to_keep=int(last_only),
            labels=targets,
            shift_labels=targets,
        )
        return ModelOutput(
            logits=output.logits,
            loss=output.loss,
            state=cache,
            layer_tokens=[tokens.numel()] * self.config.n_layers,
        )

    def set_progress(self, share: float) -> None:
        """Nothing to change."""
        return

    def after_step(self, statistics: dict[str, Tensor]) -> None:
        """Nothing to update."""
        return
