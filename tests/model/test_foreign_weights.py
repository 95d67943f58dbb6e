"""The dense baseline is the model that others mean: Qwen3 of `transformers`, with the same weights."""

import pytest
import torch
from builders import build, draw_tokens
from torch import Tensor

from tmt.model.transformer import Transformer

transformers = pytest.importorskip("transformers")

NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "head.weight": "lm_head.weight",
    "norm.weight": "model.norm.weight",
}
PARTS = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn.gate": "mlp.gate_proj",
    "ffn.inner": "mlp.up_proj",
    "ffn.output": "mlp.down_proj",
}


def foreign_name(name: str) -> str:
    """What `transformers` calls a weight of ours."""
    if name in NAMES:
        return NAMES[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{PARTS[rest.removesuffix('.weight')]}.weight"


def foreign(ours: Transformer) -> torch.nn.Module:
    """A Qwen3 with the weights of a model of ours; every weight of either must be one of the other."""
    config = ours.config
    shape = transformers.Qwen3Config(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        head_dim=config.d_model // config.n_heads,
        intermediate_size=config.ffn_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_heads,
        max_position_embeddings=config.max_seq_len,
        rms_norm_eps=config.layer_norm_eps,
        tie_word_embeddings=config.tie_embeddings,
    )
    model = transformers.Qwen3ForCausalLM(shape).double().eval()
    model.load_state_dict({foreign_name(name): weight for name, weight in ours.state_dict().items()})
    return model


def loss_of(logits: Tensor, tokens: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@pytest.mark.parametrize("overrides", [{}, dict(tie_embeddings=False), dict(n_heads=1, n_layers=3)])
def test_the_same_weights_give_the_same_logits_and_gradients(overrides: dict):
    ours, tokens = build("transformer", **overrides), draw_tokens(2, 60)
    theirs = foreign(ours)
    logits, expected = ours(tokens).logits, theirs(input_ids=tokens, use_cache=False).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)  # their angles are float32
    loss_of(logits, tokens).backward()
    loss_of(expected, tokens).backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    assert len(gradients) == len([*ours.parameters()])
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[foreign_name(name)], rtol=1e-4, atol=1e-6)
