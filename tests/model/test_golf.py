"""The golf transformer: its start, its embeddings and logits, its norms and its precision."""

import pytest
import torch
import torch.nn.functional as F
from builders import VOCAB, build, draw_tokens, fresh_golf, next_token_loss
from torch import Tensor, nn


@torch.no_grad()
def test_weights_at_the_start():
    model = fresh_golf(vocab_size=4096, d_model=64)
    assert model.embedding.weight.std().item() == pytest.approx(0.005, rel=0.02)
    for block in model.blocks:
        assert not block.attention.output.weight.any()
        assert not block.mlp.output.weight.any()
        for linear in (block.attention.query, block.attention.key, block.attention.value, block.mlp.inner):
            weight = linear.weight if len(linear.weight) <= 64 else linear.weight.T
            torch.testing.assert_close(weight @ weight.T, torch.eye(len(weight)).double(), rtol=0, atol=1e-5)
        assert (block.attention.gain == 5).all()
        assert (block.mix[0] == 1).all()
        assert not block.mix[1].any()


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True], ids=["loops", "no loops"])
@pytest.mark.parametrize("parallel", ["none", "simple", "lanes"])
def test_a_fresh_network_only_looks_its_tokens_up(parallel: str, training: bool):
    model, tokens = fresh_golf(parallel=parallel).train(training), draw_tokens(2, 9)
    start = F.rms_norm(model.embedding.weight[tokens], (16,), eps=2.0**-23)
    read = F.rms_norm(start, (16,), eps=2.0**-23)
    expected = 30 * torch.tanh(read @ model.embedding.weight.T / 30)
    torch.testing.assert_close(model(tokens).logits, expected, rtol=0, atol=1e-7)


@torch.no_grad()
def test_logits_stay_below_the_cap():
    model, tokens = build("golf"), draw_tokens(2, 9)
    nn.init.normal_(model.embedding.weight)
    model.embedding.weight *= 1000
    capped = model(tokens).logits
    assert 29 < capped.abs().max() <= 30
    model.softcap = None
    assert model(tokens).logits.abs().max() > 300
    assert build("golf", softcap=0.0).softcap is None


@torch.no_grad()
def test_one_row_of_the_embedding_is_input_and_output():
    model, tokens = build("golf"), torch.tensor([[1, 2, 3, 4]])
    shared = [name for name, w in model.named_parameters() if VOCAB in w.shape]
    assert shared == ["embedding.weight"]
    before, embedded = model(tokens).logits, model.embed(torch.tensor([[50]]))
    model.embedding.weight[50] += torch.randn(16, dtype=torch.float64)
    after = model(tokens).logits
    assert (model.embed(torch.tensor([[50]])) - embedded).abs().max() > 0.1
    assert (after[..., 50] - before[..., 50]).abs().max() > 0.1
    others = torch.arange(VOCAB) != 50
    assert torch.equal(after[..., others], before[..., others])


@torch.no_grad()
@pytest.mark.parametrize("scaled", [True, False])
def test_what_enters_the_projections_shrinks_with_depth(scaled: bool):
    model, seen = build("golf", ln_scale=scaled), {}
    for layer, block in enumerate(model.blocks):
        for part in (block.attention.query, block.attention.value, block.mlp.inner):

            def remember(_: nn.Module, inputs: tuple[Tensor], output: Tensor, layer: int = layer) -> None:
                seen.setdefault(layer, []).append(inputs[0].square().mean(-1).sqrt())

            part.register_forward_hook(remember)
    model(draw_tokens(2, 9))
    for layer, values in seen.items():
        rms = torch.cat(values)
        expected = (layer + 1) ** -0.5 if scaled else 1.0
        torch.testing.assert_close(rms, torch.full_like(rms, expected), rtol=0, atol=1e-3)


@torch.no_grad()
def test_a_block_can_start_over_from_the_embeddings():
    model, tokens = build("golf", parallel="none", unet_skips=False), draw_tokens(2, 9)
    before = model(tokens).logits
    model.blocks[-1].mix.copy_(torch.stack([torch.zeros(16), torch.ones(16)]))
    alone = model(tokens).logits
    assert (alone - before).abs().max() > 1e-3
    for block in model.blocks[:-1]:
        nn.init.normal_(block.mlp.inner.weight)
    assert torch.equal(model(tokens).logits, alone)


def test_cached_reading_is_differentiable():
    model, tokens = build("golf"), draw_tokens(2, 12)
    weights = [model.embedding.weight, model.blocks[1].attention.key.weight, model.blocks[4].mix]
    first = model(tokens[:, :5], return_state=True)
    pieces = torch.cat([first.logits, model(tokens[:, 5:], first.state).logits], 1)
    whole = model(tokens).logits
    gradients = (torch.autograd.grad(logits.square().sum(), weights) for logits in (pieces, whole))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)


def test_in_bfloat16_it_is_nearly_itself():
    model = build("golf", dtype=torch.float32, d_model=64, n_heads=2, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2 and min(parameter.shape) > 16:
                parameter.mul_(0.3)
    tokens = draw_tokens(2, 24)
    exact = next_token_loss(model, tokens)
    (expected,) = torch.autograd.grad(exact, model.embedding.weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = next_token_loss(model, tokens)
        assert model(tokens).logits.dtype == torch.bfloat16
    (gradient,) = torch.autograd.grad(loss, model.embedding.weight)
    assert loss.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0)
    assert F.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0) > 0.97
