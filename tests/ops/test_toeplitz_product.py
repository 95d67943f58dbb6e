"""The three paths of the causal Toeplitz product agree, gradients too, and see no later position."""

import pytest
import torch
from torch import Tensor

from tmt.errors import InputError
from tmt.ops import toeplitz as op
from tmt.ops.toeplitz import blocked, channel_sum, fft, reference, toeplitz, toeplitz_impl, toeplitz_matrix

IMPLS = ("dense", "fft", "blocked")
FAST = ("fft", "blocked")
LENGTHS = (1, 2, 3, 5, 31, 64, 127, 511, 512, 513, 1000)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 1e-2, torch.float16: 1e-3}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def draw(
    length: int, heads: int = 1, shifts: int = 1, taps: int | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    taps = taps or length
    x = torch.randn(2, length, heads, 5, dtype=torch.float64).to(dtype)
    kernel = torch.randn(heads, shifts, taps, dtype=torch.float64) * taps**-0.5
    return x, kernel.to(torch.promote_types(dtype, torch.float32))


def error(actual: Tensor, expected: Tensor) -> float:
    """Largest error relative to the largest value."""
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max())


def gradients(
    x: Tensor, kernel: Tensor, impl: str, upstream: Tensor, growing: bool = False
) -> tuple[Tensor, ...]:
    leaves = x.detach().requires_grad_(), kernel.detach().requires_grad_()
    return torch.autograd.grad(toeplitz(*leaves, impl, growing), leaves, upstream)


def by_definition(x: Tensor, kernel: Tensor) -> Tensor:
    (_, length, _, width), (_, shifts, taps) = x.shape, kernel.shape
    y = torch.zeros_like(x)
    for t in range(length):
        for c in range(width):
            for i in range(shifts):
                if (channel := c + i - (shifts - 1)) >= 0:
                    for k in range(min(t + 1, taps)):
                        y[:, t, :, c] += kernel[:, i, k] * x[:, t - k, :, channel]
    return y


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize(("shifts", "taps"), [(1, 6), (3, 6), (3, 2), (2, 9), (7, 6)])
def test_the_definition(impl: str, shifts: int, taps: int):
    x, kernel = draw(6, 2, shifts, taps)
    torch.testing.assert_close(toeplitz(x, kernel, impl), by_definition(x, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("impl", FAST)
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("shifts", [1, 3])
def test_equal_to_the_dense_product(dtype: torch.dtype, impl: str, heads: int, shifts: int):
    for length in LENGTHS:
        x, kernel = draw(length, heads, shifts, dtype=dtype)
        expected = toeplitz(x.double(), kernel.double(), "dense")
        actual = toeplitz(x, kernel, impl)
        assert actual.dtype == dtype
        assert error(actual, expected) <= TOLERANCE[dtype], length


@pytest.mark.parametrize("impl", FAST)
@pytest.mark.parametrize(("length", "taps"), [(1, 1), (7, 3), (64, 100), (300, 300), (520, 40), (513, 513)])
@pytest.mark.parametrize("shifts", [1, 3])
def test_gradients_equal_those_of_the_dense_product(impl: str, length: int, taps: int, shifts: int):
    x, kernel = draw(length, 2, shifts, taps)
    upstream = torch.randn_like(x)
    expected = gradients(x, kernel, "dense", upstream)
    for actual, wanted in zip(gradients(x, kernel, impl, upstream), expected, strict=True):
        assert actual.shape == wanted.shape
        torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10)
    coarse = gradients(x.bfloat16(), kernel.float(), impl, upstream.bfloat16())
    for actual, wanted in zip(coarse, expected, strict=True):
        assert error(actual, wanted) <= 0.03
    assert [g.dtype for g in coarse] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize(("length", "taps"), [(1, 1), (7, 3), (64, 100), (520, 40), (1001, 1001)])
@pytest.mark.parametrize("shifts", [1, 3])
def test_transforms_of_growing_results_round_once(length: int, taps: int, shifts: int):
    x, kernel = draw(length, 2, shifts, taps, torch.float32)
    kernel, upstream, exact = kernel.abs(), torch.randn_like(x), (x.double(), kernel.abs().double())
    y = toeplitz(x, kernel, "fft", growing=True)
    assert error(y, toeplitz(*exact, "dense")) <= 6e-8
    expected = gradients(*exact, "dense", upstream.double())
    for actual, wanted in zip(gradients(x, kernel, "fft", upstream, growing=True), expected, strict=True):
        assert actual.dtype == torch.float32
        assert error(actual, wanted) <= 6e-8


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("shifts", [1, 3])
def test_gradcheck(impl: str, shifts: int):
    x, kernel = draw(7, 2, shifts)
    leaves = x.requires_grad_(), kernel.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, kernel: toeplitz(x, kernel, impl), leaves)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("length", [1, 2, 127, 300, 1000])
def test_known_kernels(impl: str, length: int):
    x, _ = draw(length)
    delta = torch.zeros(1, 1, length, dtype=x.dtype)
    delta[..., 0] = 1
    torch.testing.assert_close(toeplitz(x, delta, impl), x)
    delay = length // 3
    delayed = torch.cat([torch.zeros_like(x[:, :delay]), x[:, : length - delay]], 1)
    torch.testing.assert_close(toeplitz(x, delta.roll(delay, -1), impl), delayed)
    torch.testing.assert_close(toeplitz(x, torch.ones_like(delta), impl), x.cumsum(1))


@pytest.mark.parametrize("impl", IMPLS)
def test_only_channels_before_and_up_to_their_own_are_read(impl: str):
    x, _ = draw(4)
    shift = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]], dtype=x.dtype)[None]
    expected = torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], -1)
    torch.testing.assert_close(toeplitz(x, shift, impl), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("impl", ["dense", "blocked"])
def test_later_positions_have_no_effect_at_all(dtype: torch.dtype, impl: str):
    x, kernel = draw(300, 2, 3, dtype=dtype)
    before = toeplitz(x, kernel, impl)
    for position in (1, 127, 128, 200, 299):
        later = x.clone()
        later[:, position:] = 1e6 * torch.randn_like(later[:, position:])
        assert torch.equal(toeplitz(later, kernel, impl)[:, :position], before[:, :position])


def test_a_later_nan_reaches_no_earlier_block():
    x, kernel = draw(300, dtype=torch.float32)
    before = toeplitz(x, kernel, "blocked")
    x[:, 200] = torch.nan
    after = toeplitz(x, kernel, "blocked")
    assert torch.equal(after[:, : blocked.BLOCK], before[:, : blocked.BLOCK])
    assert after[:, 200:].isnan().all()


@pytest.mark.parametrize("scale", [1, 1e4])
def test_later_positions_reach_the_transform_within_rounding(scale: float):
    x, kernel = draw(512, dtype=torch.float32)
    later = x.clone()
    later[:, 256:] = scale * torch.randn_like(later[:, 256:])
    change = (toeplitz(later, kernel, "fft") - toeplitz(x, kernel, "fft"))[:, :256].abs().max()
    assert change <= 5e-6 * later.abs().max() * kernel.abs().sum()


@pytest.mark.parametrize("length", [*LENGTHS, 17, 640, 641, 769])
def test_nothing_wraps_around(length: int):
    for taps in {1, length // 2 + 1, length}:
        size = fft.fft_length(length, taps)
        assert length + taps - 1 <= size < 1.4 * (length + taps) + 1
    ones = torch.ones(1, length, 1, 1, dtype=torch.float64)
    counts = torch.arange(1, length + 1, dtype=torch.float64).view_as(ones)
    torch.testing.assert_close(toeplitz(ones, ones.view(1, 1, length), "fft"), counts)


@pytest.mark.parametrize("impl", FAST)
@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_any_group_of_channels(impl: str, rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fft, "FEWEST_ROWS", rows)
    monkeypatch.setattr(fft, "GROUP_ELEMENTS", 0)
    monkeypatch.setattr(blocked, "BLOCK", rows)
    monkeypatch.setattr(blocked, "GRADIENT_BLOCK", rows)
    x, kernel = draw(11, 3, 2)
    upstream = torch.randn_like(x)
    torch.testing.assert_close(toeplitz(x, kernel, impl), toeplitz(x, kernel, "dense"))
    torch.testing.assert_close(
        gradients(x, kernel, impl, upstream), gradients(x, kernel, "dense", upstream), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize(
    ("impl", "live", "unneeded"),
    [
        ("fft", 0, (Tensor, "conj_physical_")),
        ("fft", 1, (fft, "_write")),
        ("blocked", 0, (blocked, "_gradient_of_kernel")),
        ("blocked", 1, (blocked, "_gradient_of_x")),
    ],
)
def test_a_frozen_side_costs_nothing(
    impl: str, live: int, unneeded: tuple[object, str], monkeypatch: pytest.MonkeyPatch
):
    x, kernel = draw(9, 2, 2)
    expected = gradients(x, kernel, impl, torch.ones_like(x))[live]
    leaves = [x.detach(), kernel.detach()]
    leaves[live].requires_grad_()
    y = toeplitz(*leaves, impl)
    monkeypatch.setattr(*unneeded, None)
    (found,) = torch.autograd.grad(y, leaves[live], torch.ones_like(x))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_and_the_layout_of_x_change_nothing(impl: str, dtype: torch.dtype):
    x, kernel = draw(150, 2, 2, dtype=dtype)
    upstream = torch.randn_like(x)
    expected, slopes = toeplitz(x, kernel, impl), gradients(x, kernel, impl, upstream)
    strided = x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    assert not strided.is_contiguous()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(toeplitz(strided, kernel, impl), expected)
        if impl in FAST:
            torch.testing.assert_close(gradients(strided, kernel, impl, upstream), slopes)
    wide = torch.ones((), dtype=dtype).expand(x.shape)
    torch.testing.assert_close(
        gradients(x, kernel, impl, wide), gradients(x, kernel, impl, wide.contiguous()), rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("impl", FAST)
def test_every_element_is_written(impl: str, poisoned: None):
    x, kernel = draw(140, 2, 3)
    torch.testing.assert_close(toeplitz(x, kernel, impl), toeplitz(x, kernel, "dense"))
    for gradient in gradients(x, kernel, impl, torch.randn_like(x)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("impl", IMPLS)
def test_inference_mode_and_inputs_left_alone(impl: str):
    x, kernel = draw(20, 2, 3)
    copies = x.clone(), kernel.clone()
    expected = toeplitz(x, kernel, impl)
    reference._lags.cache_clear()
    with torch.inference_mode():
        torch.testing.assert_close(toeplitz(x, kernel, impl), expected)
    gradients(x, kernel, impl, expected)
    assert torch.equal(x, copies[0])
    assert torch.equal(kernel, copies[1])


def test_matrices_are_lower_triangular_and_their_indices_are_kept():
    matrix = toeplitz_matrix(torch.tensor([[[1.0, 2, 3]]]), 4)
    expected = torch.tensor([[1.0, 0, 0, 0], [2, 1, 0, 0], [3, 2, 1, 0], [0, 3, 2, 1]])
    assert torch.equal(matrix[0, 0], expected)
    assert torch.equal(toeplitz_matrix(torch.tensor([[[1.0, 2, 3]]]), 2)[0, 0], expected[:2, :2])
    assert reference._lags(4, matrix.device) is reference._lags(4, matrix.device)


def test_channel_sum():
    z = torch.tensor([[1.0, 2, 3], [10, 20, 30]])
    assert torch.equal(channel_sum(z), torch.tensor([10.0, 21, 32]))
    assert torch.equal(channel_sum(torch.ones(2, 5, 3)), torch.tensor([1.0, 2, 3]).expand(2, 3))


def test_the_choice_follows_length_and_type(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.machine.multiplies_bf16", lambda device: True)

    def choice(length: int, dtype: torch.dtype, taps: int = 4096, device: str = "cpu") -> str:
        return toeplitz_impl(
            torch.empty(1, length, 1, 1, dtype=dtype, device=device), torch.empty(1, 1, taps, device=device)
        )

    assert [choice(n, torch.float32) for n in (64, 192, 193, 4096)] == ["blocked"] * 2 + ["fft"] * 2
    assert [choice(n, torch.bfloat16) for n in (64, 512, 513, 4096)] == ["blocked"] * 2 + ["fft"] * 2
    assert [choice(4096, torch.bfloat16, taps) for taps in (256, 257)] == ["blocked", "fft"]
    assert [choice(4096, torch.float32, taps) for taps in (16, 257)] == ["fft", "fft"]
    grown = [torch.empty(1, 4096, 1, 1, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    assert [toeplitz_impl(x, torch.empty(1, 1, 16), growing=True) for x in grown] == ["fft", "blocked"]
    elsewhere = [choice(n, torch.float32, device="meta") for n in (128, 129, 512, 513)]
    assert elsewhere == ["dense", "blocked", "blocked", "fft"]


def test_the_default_is_the_choice(monkeypatch: pytest.MonkeyPatch):
    x, kernel = draw(5)
    monkeypatch.setitem(op.IMPLEMENTATIONS, toeplitz_impl(x, kernel), lambda x, kernel: "chosen")
    assert toeplitz(x, kernel) == "chosen"


def test_mistakes_are_named():
    x, kernel = draw(4, 2)
    with pytest.raises(InputError, match="did you mean blocked"):
        toeplitz(x, kernel, "block")
    for wrong in ((x, kernel[0]), (x, kernel[:1]), (x, kernel[..., :0]), (x[:0], kernel), (x[0], kernel)):
        with pytest.raises(InputError, match="of as many heads"):
            toeplitz(*wrong)
