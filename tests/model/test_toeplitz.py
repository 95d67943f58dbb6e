"""The Toeplitz MLP Mixer: its sizes, its variants, what it refuses, and that it is what it claims to be."""

import math
from itertools import product

import pytest
import torch
from builders import build, draw_tokens
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tmt.errors import InputError
from tmt.layers.cache import Cache
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.model import ARCHITECTURES, architecture, build_model
from tmt.model.toeplitz import ToeplitzConfig, ToeplitzMixer, ToeplitzMixing
from tmt.tasks.models import configure

PUBLISHED = dict(tie_embeddings=False, final_norm=False, vocab_size=8000, n_layers=16, kernel_length=512)


@pytest.mark.parametrize(
    ("d_model", "n_heads", "expected"),
    [(512, 0, 41_836_544), (512, 4, 50_290_688), (1024, 4, 184_401_920), (1024, 0, 150_765_568)],
)
def test_published_parameter_counts(d_model: int, n_heads: int, expected: int):
    config = ToeplitzConfig(d_model=d_model, n_heads=n_heads, ffn_dim=4 * d_model, **PUBLISHED)
    with torch.device("meta"):
        assert ToeplitzMixer(config).param_count() == expected


def test_the_parameter_count_of_a_published_log():
    """SimpleStories, 8 blocks, mixing first, RMS norms (the log of the authors' second experiment)."""
    config = ToeplitzConfig(
        vocab_size=4096, d_model=512, n_layers=8, kernel_length=256, ffn_dim=2048, n_heads=0,
        norm="rms", layout="mix_first", tie_embeddings=False,
    )  # fmt: skip
    assert ToeplitzMixer(config).param_count() == 21_004_800


def test_one_projection_is_one_per_head():
    """The published code builds a linear layer for every head; one with their rows stacked is the same."""
    config = ToeplitzConfig(d_model=12, n_heads=3, kernel_length=20, ffn_dim=8, n_layers=1)
    torch.manual_seed(0)
    mixing, x = ToeplitzMixing(config).double(), torch.randn(2 * 9, 12, dtype=torch.float64)
    mixing.initialise("kaiming")
    nn.init.normal_(mixing.convolutions[0].bias)
    mixed = mixing(x, Cache(torch.zeros(2, 9, dtype=torch.long), None, None, keep=False), last=False)
    taps, bias = mixing.convolutions[0].taps(9)[:, 0], mixing.convolutions[0].bias
    lags = torch.arange(9)[:, None] - torch.arange(9)
    heads = []
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        projected = x.view(2, 9, 12) @ mixing.input.weight[rows].T + mixing.input.bias[rows]
        matrix = taps[head][lags.clamp(min=0)] * (lags >= 0)
        heads.append(matrix @ projected + bias[head, :9, None])
    torch.testing.assert_close(mixed.view(2, 9, 12), mixing.output(torch.cat(heads, -1)), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["mlp_first", "mix_first"])
def test_the_layout_is_the_order_of_the_halves_and_nothing_else(layout: str):
    model, tokens = build("toeplitz", layout=layout, n_layers=1), draw_tokens(2, 11)
    block, x = model.blocks[0], model.embed(tokens)
    cache = Cache(tokens, None, None, keep=False)

    def mlp(x: torch.Tensor) -> torch.Tensor:
        return x + block.mlp(block.channel_norm(x))

    def mix(x: torch.Tensor) -> torch.Tensor:
        return x + block.mixer(block.token_norm(x), cache, last=False)

    by_hand = mix(mlp(x)) if layout == "mlp_first" else mlp(mix(x))
    torch.testing.assert_close(model(tokens).logits.flatten(0, 1), model.head(model.norm(by_hand)))
    other = build("toeplitz", layout="mlp_first", n_layers=1).state_dict()
    assert {name: t.shape for name, t in model.state_dict().items()} == {n: t.shape for n, t in other.items()}


@pytest.mark.parametrize(
    ("expanded", "n_heads", "channels", "path"),
    list(product([False, True], [0, 2], [1, 3], ["fft", "dense"])),
)
@pytest.mark.parametrize("length", [1, 2, 12, 13])
def test_every_combination_runs_and_trains(expanded, n_heads, channels, path, length: int):
    """Odd lengths, a width other than the length, and every parameter of the mixing gets a gradient."""
    model = build(
        "toeplitz",
        expanded=expanded,
        n_heads=n_heads,
        channel_kernel=channels,
        toeplitz=path,
        kernel_length=13,
    ).train()
    tokens = draw_tokens(2, length)
    model(tokens, targets=draw_tokens(2, length, seed=3)).loss.backward()
    for parameter in model.blocks[0].mixer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert torch.count_nonzero(model.blocks[0].mixer.convolutions[-1].kernel.weight.grad[..., 0])


def test_a_frozen_mixer_has_nothing_to_train():
    model = build("toeplitz", kernel="ones", n_heads=0)
    assert not list(model.blocks[0].mixer.parameters())
    tokens = draw_tokens(1, 10)
    x = model.blocks[0].token_norm(model.embed(tokens))
    mixed = model.blocks[0].mixer(x, Cache(tokens, None, None, keep=False), last=False)
    torch.testing.assert_close(mixed, x.cumsum(0))


class Seen(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def test_no_attention_runs():
    def attends(name: str) -> bool:
        with Seen() as seen:
            build(name)(draw_tokens(2, 20))
        return any("softmax" in op or "attention" in op for op in seen.names)

    assert attends("transformer")
    assert not attends("toeplitz")


@torch.no_grad()
@pytest.mark.parametrize("overrides", [{}, dict(n_heads=0), dict(channel_kernel=3), dict(toeplitz="fft")])
def test_mixing_is_linear_with_weights_that_ignore_the_input(overrides: dict):
    mixer = build("toeplitz", **overrides).blocks[0].mixer
    cache = Cache(torch.zeros(2, 15, dtype=torch.long), None, None, keep=False)
    a, b = torch.randn(2, 30, 16, dtype=torch.float64)
    zero = mixer(torch.zeros_like(a), cache, last=False)
    both = mixer(2 * a - 3 * b, cache, last=False)
    expected = 2 * mixer(a, cache, last=False) - 3 * mixer(b, cache, last=False) + 2 * zero
    torch.testing.assert_close(both, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("arch", ["toeplitz", "hyena", "triangular"])
def test_the_first_loss_is_that_of_a_uniform_guess(arch: str):
    torch.manual_seed(1)
    model = build_model(arch, ARCHITECTURES[arch].configure("nano", {}))
    tokens = torch.randint(0, 4096, (2, 64))
    assert model(tokens[:, :-1], targets=tokens[:, 1:]).loss.item() == pytest.approx(math.log(4096), rel=0.05)


def test_the_published_start_is_far_from_it():
    torch.manual_seed(1)
    model = build_model("toeplitz", ToeplitzConfig(
        vocab_size=256, d_model=64, n_layers=4, ffn_dim=256, kernel_length=128, n_heads=0,
        kernel="raw", init="kaiming", final_norm=False, tie_embeddings=False,
    ))  # fmt: skip
    tokens = torch.randint(0, 256, (4, 128))
    assert model(tokens[:, :-1], targets=tokens[:, 1:]).loss.item() > 1.5 * math.log(256)
    kernel = model.blocks[0].mixer.convolutions[0].kernel(128)
    assert kernel.norm().item() == pytest.approx(math.sqrt(2), rel=0.2)


@torch.no_grad()
def test_nan_at_padding_reaches_no_token():
    """Not even by the transform, which mixes everything with everything before it cuts."""
    for path in ("fft", "dense", "blocked"):
        model = build("toeplitz", toeplitz=path)
        tokens = draw_tokens(2, 20).clamp(max=50)
        clean = model(tokens, lengths=torch.tensor([20, 7])).logits
        tokens[1, 7:] = 60
        model.embedding.weight[60] = torch.nan
        poisoned = model(tokens, lengths=torch.tensor([20, 7])).logits
        clean, poisoned = clean[..., :60], poisoned[..., :60]
        torch.testing.assert_close(poisoned[0], clean[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(poisoned[1, :7], clean[1, :7], rtol=0, atol=1e-12)


def test_training_on_the_transform_is_training_on_the_matrix():
    curves = []
    for path in ("dense", "fft"):
        torch.manual_seed(0)
        model = build("toeplitz", toeplitz=path, dtype=torch.float32).train()
        optimizer, losses = torch.optim.AdamW(model.parameters(), lr=2e-3), []
        for step in range(50):
            tokens = draw_tokens(4, 41, seed=step)
            loss = model(tokens[:, :-1], targets=tokens[:, 1:]).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        curves.append(losses)
    assert max(abs(a - b) for a, b in zip(*curves, strict=True)) < 1e-3
    assert curves[0][-1] < curves[0][0] - 0.3


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (dict(mean=True), "mean=True needs positive taps"),
        (dict(decode="state"), "decode='state' needs kernel=expsum"),
        (dict(beyond="formula"), "beyond='formula' has none for kernel=delta"),
        (dict(kernel="expsum", beyond="fir", decode="state"), "beyond='fir' cuts the kernel off"),
        (dict(n_heads=3), "d_model=512 is not divisible by n_heads=3"),
        (dict(n_heads=-1), "n_heads=-1 must not be negative"),
        (dict(channel_kernel=0), "channel_kernel=0 must be in"),
        (dict(channel_kernel=129), "channel_kernel=129 must be in"),
        (dict(kernel="fourier"), "kernel='fourier' is none of raw, delta"),
        (dict(kernel_length=0), "kernel_length=0 must be above zero"),
        (dict(kernel="expsum", kernel_head=2000), "kernel_head=2000 exceeds kernel_length=1024"),
    ],
)
def test_what_does_not_fit_is_refused(overrides: dict, named: str):
    with pytest.raises(InputError, match=named):
        ToeplitzConfig(**overrides)


def test_the_running_model_names_its_paths():
    ops = build("toeplitz", kernel="expsum").ops()
    assert ops["decoding"] == "state"
    assert "at 64" in ops["toeplitz"]
    assert build("toeplitz", toeplitz="fft").ops()["toeplitz"] == "fft at 64"


def test_every_convolution_takes_the_path_that_was_asked_for():
    for expanded, n_heads in product([False, True], [0, 2]):
        mixer = build("toeplitz", expanded=expanded, n_heads=n_heads, toeplitz="fft").blocks[0].mixer
        assert [convolution.impl for convolution in mixer.convolutions] == ["fft"] * (1 + expanded)


def test_a_tied_head_does_not_draw_the_embedding_anew():
    torch.manual_seed(0)
    for init, deviation in (("identity", 0.02), ("kaiming", 1.0)):
        model = ToeplitzMixer(ToeplitzConfig(vocab_size=500, d_model=64, n_layers=1, ffn_dim=8, init=init))
        assert model.head.weight is model.embedding.weight
        assert model.embedding.weight.std().item() == pytest.approx(deviation, rel=0.02)


def test_dropout_is_off_unless_asked_for_and_then_everywhere():
    assert ToeplitzConfig().dropout == 0
    mixer = build("toeplitz", expanded=True, dropout=0.3).blocks[0]
    assert [m.p for m in mixer.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]


def test_kernels_are_named_by_layer_and_place():
    model = build("toeplitz", expanded=True, channel_kernel=2)
    assert list(model.kernels()) == ["0.inner", "0.outer", "1.inner", "1.outer"]
    assert all(k.shape == (2, 2, 64) and k.dtype == torch.float64 for k in model.kernels().values())
    assert list(build("toeplitz").kernels()) == ["0", "1"]
    assert not build("transformer").kernels()


@torch.no_grad()
@pytest.mark.parametrize("decode", ["direct", "relaxed"])
def test_a_convolution_counts_the_products_it_runs(decode: str):
    config = ToeplitzConfig(d_model=8, n_heads=2, kernel_length=100, n_layers=1, ffn_dim=4, decode=decode)
    convolution: ToeplitzConvolution = ToeplitzMixing(config).convolutions[0]
    tokens = torch.zeros(1, 40, dtype=torch.long)
    cache = Cache(tokens, None, None, keep=True)
    convolution(torch.randn(1, 40, 2, 4), cache)
    state, steps = cache.state(), []
    for _ in range(20):
        cache = Cache(tokens[:, :1], state, None, keep=True)
        convolution(torch.randn(1, 1, 2, 4), cache)
        state = cache.state()
        steps.append(sum(count() for count in cache.work))
    if decode == "direct":
        assert steps == [2 * 8 * reach for reach in range(41, 61)]
    else:
        assert steps == [2 * 8 * since for since in range(1, 21)]


@pytest.mark.parametrize("kernel", ["raw", "delta", "softplus", "decay", "ones"])
def test_a_kernel_without_free_taps_may_be_shorter_than_them(kernel: str):
    config = architecture("toeplitz").configure("nano", dict(kernel=kernel, kernel_length=1))
    assert (config.kernel_length, config.kernel_head) == (1, 4)
    assert configure("toeplitz", None, {}, vocab_size=8, length=3, d_model=64).kernel_length == 3


def test_the_way_to_longer_sequences_is_told_where_there_is_one():
    for name, told in {"toeplitz": True, "hyena": True, "triangular": False}.items():
        config = architecture(name).configure("nano", {})
        assert config.limit.startswith("kernel_length=256")
        assert ("--set model.beyond=fir" in config.limit) == told
        if told:
            architecture(name).configure("nano", {"beyond": "fir"})
