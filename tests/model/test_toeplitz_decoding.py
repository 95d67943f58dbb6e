"""Decoding over many tokens: rings that turn, rooms that double, states that stay small."""

import pytest
import torch
from builders import build, draw_tokens

from tmt.errors import InputError
from tmt.generate import Sampler, generate_tokens
from tmt.layers.cache import Cache
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.layers.toeplitz_kernel import DeltaKernel, ExpSumKernel, Kernel
from tmt.model.base import LanguageModel

LONG = dict(max_seq_len=400, kernel_length=300, n_layers=1)


def decode(model: LanguageModel, tokens: torch.Tensor, prompt: int) -> torch.Tensor:
    """Logits (B, S, V), read token by token after a prompt."""
    output = model(tokens[:, :prompt], return_state=True)
    logits = [output.logits]
    for token in tokens[:, prompt:].split(1, 1):
        output = model(token, output.state)
        logits.append(output.logits)
    return torch.cat(logits, 1)


@torch.no_grad()
@pytest.mark.parametrize("prompt", [1, 2, 63, 64, 65, 100])
@pytest.mark.parametrize(
    "overrides",
    [
        dict(decode="relaxed"),
        dict(decode="relaxed", channel_kernel=2, expanded=True),
        dict(kernel="expsum"),
        {},
    ],
    ids=["relaxed", "relaxed-expanded", "state", "direct"],
)
def test_long_decoding_equals_the_full_pass(overrides: dict, prompt: int):
    model, tokens = build("toeplitz", **LONG, **overrides), draw_tokens(2, 290)
    torch.testing.assert_close(decode(model, tokens, prompt), model(tokens).logits, rtol=0, atol=1e-9)


@torch.no_grad()
def test_long_decoding_in_single_precision():
    for overrides in (dict(decode="relaxed"), dict(kernel="expsum"), {}):
        model, tokens = build("toeplitz", dtype=torch.float32, **LONG, **overrides), draw_tokens(2, 290)
        torch.testing.assert_close(decode(model, tokens, 7), model(tokens).logits, rtol=0, atol=1e-4)


@torch.no_grad()
def test_long_decoding_in_half_precision():
    for overrides in ({}, dict(decode="relaxed"), dict(kernel="expsum")):
        model, tokens = build("toeplitz", dtype=torch.float32, **LONG, **overrides), draw_tokens(2, 150)
        with torch.autocast("cpu", torch.bfloat16):
            full, cached = model(tokens).logits.float(), decode(model, tokens, 7).float()
        assert (cached - full).norm() / full.norm() < 0.02


@torch.no_grad()
@pytest.mark.parametrize("overrides", [{}, dict(decode="relaxed")], ids=["direct", "relaxed"])
def test_fir_beyond_the_kernel_is_the_kernel_followed_by_zeros(overrides: dict):
    """At three times the trained length, token by token and in one pass."""
    n = 20
    short = build("toeplitz", kernel_length=n, beyond="fir", bias="none", **overrides)
    long = build("toeplitz", kernel_length=3 * n, bias="none")
    padded = short.state_dict()
    for name, weight in long.state_dict().items():
        if name.endswith("kernel.weight"):
            padded[name] = torch.cat([padded[name], weight.new_zeros(*weight.shape[:2], 2 * n)], -1)
    long.load_state_dict(padded)
    tokens = draw_tokens(2, 3 * n)
    expected = long(tokens).logits
    torch.testing.assert_close(short(tokens).logits, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(decode(short, tokens, 5), expected, rtol=0, atol=1e-9)
    if not overrides:
        assert all(part.shape[2] <= n for part in short(tokens, return_state=True).state[1:])


@torch.no_grad()
def test_fir_and_reading_the_last_tokens_anew_differ_beyond_the_kernel_only():
    n = 20
    model, tokens = build("toeplitz", kernel_length=n, beyond="fir"), draw_tokens(1, 3 * n)
    fir = model(tokens).logits
    torch.testing.assert_close(fir[:, n - 1], model(tokens[:, :n]).logits[:, -1])
    anew = model(tokens[:, -n:]).logits[:, -1]
    assert (fir[:, -1] - anew).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kernel", ["decay", "expsum"])
def test_formulas_go_on_beyond_the_trained_length(kernel: str):
    model, tokens = build("toeplitz", kernel=kernel, kernel_length=12, beyond="formula"), draw_tokens(2, 48)
    logits = model(tokens).logits
    assert logits.isfinite().all()
    torch.testing.assert_close(decode(model, tokens, 3), logits, rtol=0, atol=1e-9)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 61
    assert (model(changed).logits[:, 40] - logits[:, 40]).abs().max() > 1e-9


def test_a_sequence_beyond_the_kernel_needs_a_policy():
    model = build("toeplitz", kernel_length=10)
    with pytest.raises(InputError, match=r"11 tokens exceeds kernel_length=10 .*model\.beyond=fir"):
        model(draw_tokens(1, 11))


@torch.no_grad()
def test_a_state_does_not_grow():
    model, tokens = build("toeplitz", kernel="expsum", **LONG), draw_tokens(1, 250)
    sizes = []
    for length in (10, 100, 250):
        state = model(tokens[:, :length], return_state=True).state
        sizes.append(sum(part.numel() for part in state))
    assert sizes[0] == sizes[1] == sizes[2]


@torch.no_grad()
def test_a_long_prompt_is_read_in_chunks(monkeypatch: pytest.MonkeyPatch):
    from tmt.layers import toeplitz_state

    model, tokens = build("toeplitz", kernel="expsum", **LONG), draw_tokens(3, 100)
    lengths = torch.tensor([100, 3, 64])
    whole = model(tokens, lengths=lengths, return_state=True)
    monkeypatch.setattr(toeplitz_state, "CHUNK", 16)
    chunked = model(tokens, lengths=lengths, return_state=True)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(
            chunked.logits[row, :length], whole.logits[row, :length], rtol=0, atol=1e-10
        )
    for a, b in zip(chunked.state, whole.state, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_last_output_of_the_last_block_is_a_dot_product():
    for overrides in ({}, dict(layout="mix_first"), dict(expanded=True), dict(kernel="softplus", mean=True)):
        model, tokens = build("toeplitz", **overrides), draw_tokens(3, 30)
        lengths = torch.tensor([30, 1, 12])
        full, last = model(tokens, lengths=lengths), model(tokens, lengths=lengths, last_only=True)
        assert last.logits.shape == (3, 1, 61)
        torch.testing.assert_close(
            last.logits[:, 0], full.logits[torch.arange(3), lengths - 1], atol=1e-10, rtol=0
        )
        assert last.flops < full.flops - 2 * 80 * model.head.weight.numel()


@pytest.mark.parametrize(
    "overrides", [{}, dict(decode="relaxed"), dict(kernel="expsum"), dict(kernel="softplus", mean=True)]
)
def test_greedy_tokens_are_those_of_the_full_pass(overrides: dict):
    """64 prompts of different lengths, 128 tokens each."""
    model = build("toeplitz", dtype=torch.float32, **{**LONG, **overrides})
    prompts = [draw_tokens(1 + row % 9, seed=row).tolist() for row in range(64)]
    steps = generate_tokens(model, prompts, max_new_tokens=128, sampler=Sampler(temperature=0))
    for prompt, written in zip(prompts, zip(*steps, strict=True), strict=True):
        logits = model(torch.tensor([[*prompt, *written]])).logits[0, len(prompt) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(written)[:, None])[:, 0]
        torch.testing.assert_close(chosen, logits.amax(1), rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_step_from_a_state_costs_the_same_at_any_context():
    model, tokens = build("toeplitz", kernel="expsum", **LONG), draw_tokens(1, 250)
    costs = set()
    for length in (10, 100, 249):
        state = model(tokens[:, :length], return_state=True).state
        costs.add(model(tokens[:, length : length + 1], state).flops)
    assert len(costs) == 1


def convolution(kernel: Kernel, mode: str) -> ToeplitzConvolution:
    torch.manual_seed(0)
    module = ToeplitzConvolution(kernel, 3, bias="none", mean=False, endless=False, decode=mode).double()
    module.initialise("kaiming")
    return module


@torch.no_grad()
def test_relaxed_decoding_costs_little_more_than_a_transform():
    """Transforms of length p count p log2 p; in all at most 2 n log2(2n)² a channel."""
    n = 1024
    module = convolution(DeltaKernel(1, 1, n), "relaxed")
    spent: list[int] = []
    real, inverse = torch.fft.rfft, torch.fft.irfft

    def counted(transform):
        def call(x, n=None, dim=-1):
            length = n or x.shape[dim]
            if x.dim() == 4 or (x.dim() == 5 and dim == 3):
                spent.append(length * (length.bit_length() - 1))
            return transform(x, n=n, dim=dim)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.fft, "rfft", counted(real))
        patch.setattr(torch.fft, "irfft", counted(inverse))
        state, tokens = None, torch.zeros(1, 1, dtype=torch.long)
        for _ in range(n):
            cache = Cache(tokens, state, None, keep=True)
            module(torch.randn(1, 1, 1, 3, dtype=torch.float64), cache)
            state = cache.state()
    assert 0 < sum(spent) <= 2 * n * (2 * n).bit_length() ** 2


@torch.no_grad()
@pytest.mark.parametrize("mode", ["direct", "relaxed", "state"])
def test_rows_may_read_different_numbers_of_tokens(mode: str):
    kernel = ExpSumKernel(2, 1, 64, rank=3, head=2) if mode == "state" else DeltaKernel(2, 1, 64)
    module = convolution(kernel, mode)
    x = torch.randn(3, 60, 2, 3, dtype=torch.float64)
    full = module(x, Cache(torch.zeros(3, 60, dtype=torch.long), None, None, keep=False))
    done, state, step = [0, 0, 0], None, 0
    while max(done) < 50:
        counts = [1, 1, 1] if step % 5 else [1 + (step + row) % 4 for row in range(3)]
        chunk = torch.full((3, max(counts), 2, 3), torch.nan, dtype=torch.float64)
        for row, count in enumerate(counts):
            chunk[row, :count] = x[row, done[row] : done[row] + count]
        cache = Cache(torch.zeros(3, max(counts), dtype=torch.long), state, torch.tensor(counts), keep=True)
        y = module(chunk, cache)
        for row, count in enumerate(counts):
            wanted = full[row, done[row] : done[row] + count]
            torch.testing.assert_close(y[row, :count], wanted, rtol=0, atol=1e-10)
            done[row] += count
        state, step = cache.state(), step + 1
