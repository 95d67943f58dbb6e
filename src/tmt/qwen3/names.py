"""What Qwen3's configuration and weights are called, and which of its shapes the dense baseline has."""

from collections.abc import Mapping
from typing import Any

from tmt.errors import InputError
from tmt.model.transformer_config import TransformerConfig

ROPE_BASE = 10000.0
AROUND = {"embedding": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
IN_A_LAYER = {
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


def weight_names(config: TransformerConfig) -> dict[str, str]:
    """Qwen3's name of every weight by ours; a tied head is not among them."""
    around = {k: v for k, v in AROUND.items() if not (k == "head" and config.tie_embeddings)}
    layers = {
        f"blocks.{layer}.{ours}": f"model.layers.{layer}.{theirs}"
        for layer in range(config.n_layers)
        for ours, theirs in IN_A_LAYER.items()
    }
    return {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in (around | layers).items()}


def to_shape(config: TransformerConfig) -> dict[str, Any]:
    """The sizes as Qwen3's config.json has them; the base of the rotation as releases before 5 and since."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_heads,
        "head_dim": config.d_model // config.n_heads,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_seq_len,
        "rms_norm_eps": config.layer_norm_eps,
        "tie_word_embeddings": config.tie_embeddings,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "rope_theta": ROPE_BASE,
        "rope_parameters": {"rope_theta": ROPE_BASE, "rope_type": "default"},
    }


def from_shape(shape: Mapping[str, Any]) -> TransformerConfig:
    """The baseline of that shape.

    Raises:
        InputError: a size is missing, or the model is one that the baseline cannot be.
    """
    try:
        config = TransformerConfig(
            vocab_size=shape["vocab_size"],
            max_seq_len=shape["max_position_embeddings"],
            d_model=shape["hidden_size"],
            n_heads=shape["num_attention_heads"],
            n_layers=shape["num_hidden_layers"],
            ffn_dim=shape["intermediate_size"],
            layer_norm_eps=shape["rms_norm_eps"],
            tie_embeddings=shape.get("tie_word_embeddings", False),
            dropout=0.0,
        )
    except KeyError as error:
        raise InputError(f"a Qwen3 whose configuration has no {error}") from error
    rope = shape.get("rope_parameters") or {"rope_theta": shape.get("rope_theta", ROPE_BASE)}
    found = {
        **{name: shape.get(name, value) for name, value in to_shape(config).items()},
        "rope_parameters": {"rope_type": "default", **rope},
        "rope_theta": rope.get("rope_theta"),
    }
    for name, value in to_shape(config).items():
        if name != "architectures" and found[name] != value:
            raise InputError(f"a Qwen3 with {name}={found[name]!r}, where the dense baseline has {value!r}")
    return config
