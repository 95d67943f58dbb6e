"""Every field of the attention-free architectures, and of the baseline, does what its line says."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from builders import SIZES, build, draw_tokens
from torch import Tensor, nn
from twins import LENGTH, assert_two, logits, twin

from tmt.errors import InputError
from tmt.layers.cache import Cache
from tmt.layers.norm import LayerNorm, RMSNorm
from tmt.model import ARCHITECTURES
from tmt.model.base import LanguageModel

MIXERS = ("toeplitz", "triangular", "hyena")
each = pytest.mark.parametrize("architecture", MIXERS)


def fresh(architecture: str, **overrides: Any) -> LanguageModel:
    """A model as a training starts from it."""
    torch.manual_seed(0)
    entry = ARCHITECTURES[architecture]
    return entry.model(entry.config(**{**SIZES[architecture], **overrides}))


@pytest.mark.shows("TransformerConfig", "ffn_dim")
def test_the_width_of_the_baseline():
    for block in build("transformer", ffn_dim=20).blocks:
        assert block.ffn.gate.weight.shape == block.ffn.inner.weight.shape == (20, 16)


@each
@torch.no_grad()
@pytest.mark.shows("MixerConfig", "ffn_dim", "activation")
@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_the_mlp_has_its_width_and_its_activation(architecture: str, activation: str):
    mlp, x = build(architecture, ffn_dim=20, activation=activation).blocks[0].mlp, torch.randn(5, 16).double()
    hidden = x @ mlp.inner.weight.T + mlp.inner.bias
    assert hidden.shape == (5, 20)
    acted = F.silu(hidden) if activation == "silu" else F.gelu(hidden, approximate="tanh")
    torch.testing.assert_close(mlp(x), acted @ mlp.output.weight.T + mlp.output.bias)


@each
@torch.no_grad()
@pytest.mark.shows("MixerConfig", "layout")
@pytest.mark.parametrize("layout", ["mlp_first", "mix_first"])
def test_the_halves_of_a_block_have_their_order(architecture: str, layout: str):
    model, order = build(architecture, layout=layout), []
    for block in model.blocks:
        block.mlp.register_forward_hook(lambda *_: order.append("mlp_first"))
        block.mixer.register_forward_hook(lambda *_: order.append("mix_first"))
    logits(model)
    assert order[::2] == [layout] * 2
    assert set(order[1::2]) == {"mlp_first", "mix_first"} - {layout}


@each
@pytest.mark.shows("MixerConfig", "norm", "final_norm")
@pytest.mark.parametrize(("norm", "kind"), [("layer", LayerNorm), ("rms", RMSNorm)])
def test_norms_are_of_the_kind_asked_for(architecture: str, norm: str, kind: type):
    model = build(architecture, norm=norm)
    norms = [model.norm, *(n for block in model.blocks for n in (block.channel_norm, block.token_norm))]
    assert {type(module) for module in norms} == {kind}
    bare = twin(architecture, model, norm=norm, final_norm=False)
    assert type(bare.norm) is nn.Identity
    assert_two(logits(bare), logits(model))
    states: list[Tensor] = []
    bare.blocks[-1].register_forward_hook(lambda module, inputs, output: states.append(output))
    torch.testing.assert_close(logits(bare).flatten(0, 1), bare.head(states[0]))


@each
@torch.no_grad()
@pytest.mark.shows("MixerConfig", "init")
def test_weights_start_small_or_as_he_drew_them(architecture: str):
    for init, embedding, matrix in (("identity", 0.02, 0.02), ("kaiming", 1.0, (2 / 64) ** 0.5)):
        sizes = dict(d_model=64, ffn_dim=64, vocab_size=500)
        model = fresh(architecture, init=init, **sizes)
        assert float(model.embedding.weight.std()) == pytest.approx(embedding, rel=0.05)
        assert float(model.blocks[0].mlp.inner.weight.std()) == pytest.approx(matrix, rel=0.05)
        if architecture != "hyena":  # its kernel is a network
            small = model.blocks[0].mixer
            kernel = small.weight if architecture == "triangular" else small.convolutions[0].kernel.weight
            eye = torch.eye(64) if architecture == "triangular" else 0
            noise = kernel - (eye if init == "identity" else 0)
            size = 0.02 if init == "identity" else 2**0.5
            assert float(noise.std()) == pytest.approx(size / 8, rel=0.25)


@each
@torch.no_grad()
@pytest.mark.shows("MixerConfig", "kernel_length", "beyond")
def test_beyond_its_kernel_a_text_is_refused_or_heard_in_part(architecture: str):
    model = build(architecture, kernel_length=12)
    assert logits(model, 12).isfinite().all()
    with pytest.raises(InputError, match="sequence of 13 tokens exceeds kernel_length=12"):
        logits(model, 13)
    if architecture == "triangular":
        return
    alone = dict(kernel_length=12, beyond="fir", n_layers=1)
    cut = build(architecture, **alone)
    embedded = cut.embed(draw_tokens(1, 30)).detach().requires_grad_()
    cut.embed = lambda tokens: embedded
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(cut(draw_tokens(1, 30)).logits[0, 25].square().sum(), embedded)
    heard = gradient.abs().amax(1).nonzero()[:, 0].tolist()
    first = 14 - (2 if architecture == "hyena" else 0)  # the short filter reaches two tokens further
    assert heard == [*range(first, 26)]


@torch.no_grad()
@pytest.mark.shows("HyenaConfig", "short_filter", "decode")
def test_the_short_filter_mixes_so_many_tokens():
    for width in (1, 3, 5):
        mixer = build("hyena", short_filter=width).blocks[0].mixer
        assert mixer.local.weight.shape == (width, 48)
    direct, relaxed = (build("hyena", decode=decode) for decode in ("direct", "relaxed"))
    tokens = draw_tokens(1, 40)
    outputs = [model(tokens, return_state=True) for model in (direct, relaxed)]
    torch.testing.assert_close(outputs[0].logits, outputs[1].logits)
    assert len(outputs[0].state) < len(outputs[1].state)


KERNELS: dict[str, Any] = {
    "raw": lambda k: k.weight,
    "delta": lambda k: k.weight + F.one_hot(torch.zeros(1, dtype=torch.long), 64),
    "softplus": lambda k: F.softplus(k.weight),
    "decay": lambda k: k.weight * torch.sigmoid(k.rate)[:, None, None] ** torch.arange(64),
    "ones": lambda k: torch.ones(2, 1, 64),
}


@torch.no_grad()
@pytest.mark.shows("ToeplitzConfig", "kernel")
@pytest.mark.parametrize("kind", KERNELS)
def test_taps_are_what_the_kernel_says(kind: str):
    kernel = build("toeplitz", kernel=kind).blocks[0].mixer.convolutions[0].kernel
    torch.testing.assert_close(kernel(64).double(), KERNELS[kind](kernel).double())
    assert kernel(64).shape == (2, 1, 64)


@torch.no_grad()
@pytest.mark.shows("ToeplitzConfig", "kernel", "kernel_rank", "kernel_head")
def test_a_sum_of_exponentials_has_its_rank_behind_its_head():
    kernel = (
        build("toeplitz", kernel="expsum", kernel_rank=3, kernel_head=2)
        .blocks[0]
        .mixer.convolutions[0]
        .kernel
    )
    assert kernel.damping.shape == (2, 1, 3)
    taps = kernel(40)
    assert torch.equal(taps[..., :2], kernel.head)
    hankel = taps[0, 0, 2:].unfold(0, 15, 1)[:15]
    singular = torch.linalg.svdvals(hankel)
    assert int((singular > 1e-9 * singular[0]).sum()) == 6  # an oscillation is two conjugate modes


@torch.no_grad()
@pytest.mark.shows("ToeplitzConfig", "channel_kernel", "expanded", "inner_bias", "bias", "output_bias")
def test_what_a_mixing_is_made_of():
    mixing = build("toeplitz", channel_kernel=3).blocks[0].mixer
    assert mixing.convolutions[0].kernel(64).shape == (2, 3, 64)
    assert len(mixing.convolutions) == 1
    shapes = {"position": (2, 64), "channel": (2, 8)}
    for bias in ("position", "channel", "none"):
        for inner in (True, False):
            model = build("toeplitz", expanded=True, bias=bias, inner_bias=inner)
            first, second = (c.bias for c in model.blocks[0].mixer.convolutions)
            assert (None if second is None else tuple(second.shape)) == shapes.get(bias)
            assert (first is None) == (second is None or not inner)
    for bias in (True, False):
        assert (build("toeplitz", output_bias=bias).blocks[0].mixer.output.bias is not None) == bias
    twice, x = build("toeplitz", expanded=True).blocks[0].mixer, torch.randn(20, 16).double()
    heard: list[Tensor] = []
    for convolution in twice.convolutions:
        convolution.register_forward_hook(lambda module, inputs, output: heard.extend((inputs[0], output)))
    twice(x, Cache(draw_tokens(1, 20), None, None, keep=False), False)
    torch.testing.assert_close(heard[2], F.silu(heard[1]))


@torch.no_grad()
@pytest.mark.shows("ToeplitzConfig", "mean")
def test_a_mean_is_divided_by_its_taps():
    plain = build("toeplitz", kernel="ones", bias="none")
    means = twin("toeplitz", plain, kernel="ones", bias="none", mean=True)
    made: list[Tensor] = []
    for model in (plain, means):
        model.blocks[0].mixer.convolutions[0].register_forward_hook(lambda *parts: made.append(parts[2]))
        logits(model)
    torch.testing.assert_close(made[1], made[0] / torch.arange(1, LENGTH + 1)[:, None, None])


@torch.no_grad()
@pytest.mark.shows("ToeplitzConfig", "toeplitz", "decode")
def test_paths_are_taken_and_agree():
    expected = logits(build("toeplitz", toeplitz="dense"))
    for path in ("blocked", "fft"):
        model = build("toeplitz", toeplitz=path)
        assert model.ops()["toeplitz"].startswith(path)
        torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-9)
    sizes = {}
    for decode in ("direct", "relaxed", "state"):
        model = build("toeplitz", kernel="expsum", decode=decode)
        assert model.ops()["decoding"] == model.config.decoding == decode
        sizes[decode] = sum(part.numel() for part in model(draw_tokens(1, 60), return_state=True).state)
    assert len(set(sizes.values())) == 3
    assert build("toeplitz", kernel="expsum").config.decoding == "state"
    assert build("toeplitz").config.decoding == "direct"
