"""The dense baseline is the model that others mean: Qwen3 of `transformers`, with the same weights."""

import pytest
import torch
from builders import build, draw_tokens
from torch import Tensor

from tmt.checkpoint import model_state
from tmt.model.transformer import Transformer
from tmt.qwen3.names import to_shape, weight_names

transformers = pytest.importorskip("transformers")


def foreign(ours: Transformer) -> torch.nn.Module:
    """A Qwen3 with the weights of a model of ours; every weight of either must be one of the other."""
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**to_shape(ours.config))).double().eval()
    names, weights = weight_names(ours.config), model_state(ours)
    assert names.keys() == weights.keys()
    missing = model.load_state_dict({names[name]: weight for name, weight in weights.items()}, strict=False)
    assert missing.unexpected_keys == []
    assert missing.missing_keys == (["lm_head.weight"] if ours.config.tie_embeddings else [])
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
    names = weight_names(ours.config)
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[names[name]], rtol=1e-4, atol=1e-6)
