"""The fields that every architecture has do what they say in each of them."""

from itertools import chain

import pytest
import torch
from builders import ARCHITECTURES, SIZES, VOCAB, build, draw_tokens
from torch import Tensor, nn

from tmt.errors import InputError
from tmt.layers.attention import HeadProjections
from tmt.layers.grouped_attention import GroupedAttention
from tmt.layers.linear import Linear
from tmt.model.base import LanguageModel

each = pytest.mark.parametrize("architecture", ARCHITECTURES)


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "vocab_size", "d_model", "n_layers")
def test_sizes_are_those_of_the_parameters(architecture: str):
    model = build(architecture, vocab_size=37, d_model=24, n_layers=5)
    assert model.embedding.weight.shape == model.head.weight.shape == (37, 24)
    assert len(model.blocks) == 5
    assert model(draw_tokens(1, 6, vocab=37)).logits.shape == (1, 6, 37)


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "n_layers")
def test_every_layer_is_run(architecture: str):
    model, ran = build(architecture), []
    for block in model.blocks:
        part = next(module for module in block.modules() if isinstance(module, Linear))
        part.register_forward_hook(lambda module, *_, block=block: ran.append(block))
    model(draw_tokens(1, 6))
    assert set(ran) == set(model.blocks)
    assert len(model(draw_tokens(1, 6)).layer_tokens) == len(model.blocks)


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "max_seq_len")
def test_the_longest_sequence_is_the_one_announced(architecture: str):
    model = build(architecture, max_seq_len=17)
    assert model.config.longest == 17
    assert model(draw_tokens(1, 17)).logits.isfinite().all()
    with pytest.raises(InputError, match="sequence of 18 tokens exceeds max_seq_len=17"):
        model(draw_tokens(1, 18))


@each
@pytest.mark.shows("ModelConfig", "n_heads")
def test_heads_share_the_width(architecture: str):
    model = build(architecture, n_heads=4)
    if architecture == "hyena":  # a kernel a channel
        assert model.blocks[0].mixer.convolution.kernel.shape[0] == 16
    elif hasattr(model.blocks[0], "mixer"):
        mixer = model.blocks[0].mixer
        assert mixer.heads == 4
        assert any(
            p.shape[0] == 4 for n, p in mixer.named_parameters() if not n.startswith(("input", "output"))
        )
    else:
        (heads,) = (m for m in model.blocks[0].modules() if isinstance(m, HeadProjections | GroupedAttention))
        assert (heads.n_heads, heads.width) == (4, 4)


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "layer_norm_eps")
def test_every_norm_has_the_epsilon(architecture: str):
    """And every state, key and query passes one: a huge epsilon silences the blocks."""
    model = build(architecture, layer_norm_eps=0.25)
    norms = [module for module in model.modules() if hasattr(module, "eps")]
    assert {module.eps for module in norms} == {0.25}
    assert len(norms) > 2 * len(model.blocks)
    usual = build(architecture)
    usual.load_state_dict(model.state_dict())
    tokens = draw_tokens(1, 12)
    assert (model(tokens).logits - usual(tokens).logits).abs().max() > 1e-3


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "tie_embeddings")
def test_one_matrix_or_two(architecture: str):
    tied, untied = (build(architecture, tie_embeddings=tie) for tie in (True, False))
    assert tied.head.weight is tied.embedding.weight
    assert untied.param_count() - tied.param_count() == VOCAB * 16
    before = untied(draw_tokens(1, 6)).logits
    untied.head.weight.mul_(2)
    torch.testing.assert_close(
        untied.predict(untied.encode(draw_tokens(1, 6))), untied(draw_tokens(1, 6)).logits
    )
    assert (untied(draw_tokens(1, 6)).logits - before).abs().max() > 1e-3


@each
@pytest.mark.shows("ModelConfig", "embedding_std")
def test_embeddings_start_as_wide_as_asked(architecture: str):
    entry = ARCHITECTURES[architecture]
    for std in (0.02, 0.5):
        sizes = {**SIZES[architecture], "vocab_size": 2000, "embedding_std": std}
        model = entry.model(entry.config(**sizes))
        assert float(model.embedding.weight.detach().std()) == pytest.approx(std, rel=0.05)


def dropped(model: LanguageModel, tokens: Tensor) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """What went into and came out of every dropout of a forward pass, by the module's name."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: seen.setdefault(name, []).append(
                    (inputs[0], output)
                )
            )
    model(tokens)
    return seen


@each
@torch.no_grad()
@pytest.mark.shows("ModelConfig", "dropout")
def test_dropout_is_applied_to_embeddings_and_updates_while_training(architecture: str):
    model, tokens = build(architecture, dropout=0.25).train(), draw_tokens(8, 30)
    calls = [call for calls in dropped(model, tokens).values() for call in calls]
    blocks = [*chain(*model.config.route(looped=True))] if architecture == "golf" else model.blocks
    assert len(calls) == 1 + len(blocks) * (1 if hasattr(model.blocks[0], "mixer") else 2)
    for before, after in calls:
        kept = after != 0
        assert float(kept[before != 0].double().mean()) == pytest.approx(0.75, abs=0.06)
        torch.testing.assert_close(after[kept], before[kept] / 0.75)
    trained = model(tokens).logits
    assert not torch.equal(trained, model(tokens).logits)
    read = model.eval()(tokens).logits
    assert torch.equal(read, model(tokens).logits)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["transformer", "tmt", "golf"])
def test_whatever_a_block_adds_passes_a_dropout(architecture: str):
    """With every update dropped the head reads the embeddings alone."""
    overrides = dict(residual_mix=False, unet_skips=False, parallel="none") if architecture == "golf" else {}
    model, tokens = build(architecture, dropout=0.5, **overrides).train(), draw_tokens(1, 12)
    for block in model.blocks:
        block.dropout.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    model.dropout.register_forward_hook(lambda module, inputs, output: inputs[0])
    embedded = model.norm(model.embed(tokens)) if architecture == "golf" else model.embed(tokens)
    torch.testing.assert_close(model(tokens).logits[0], model.predict(model.norm(embedded)))
