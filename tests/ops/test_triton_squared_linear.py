"""The Triton kernels of the squared MLP equal its reference; interpreted where no GPU is."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from interpreter import compiled, correct_half_precision
from torch import Tensor

triton = pytest.importorskip("triton")

from tmt.ops.squared_mlp import squared_linear, triton_tma, triton_units  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HOPPER = DEVICE == "cpu" or torch.cuda.get_device_capability() >= (9, 0)
PATHS = ["triton", pytest.param("tma", marks=pytest.mark.skipif(not HOPPER, reason="no tensor descriptors"))]
SHARED_MEMORY = 227 * 1024
"""Bytes that one program may have on a Hopper GPU."""

pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.fixture(autouse=True)
def kernels_in_small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles in every direction, and more of them than programs."""
    correct_half_precision(monkeypatch)
    if DEVICE == "cpu":
        tile = triton.Config({"ROWS": 16, "COLUMNS": 16, "STEP": 16})
        monkeypatch.setattr(triton_units.multiply, "configs", [tile])
        monkeypatch.setattr(triton_tma, "ROWS", 16)
        monkeypatch.setattr(triton_tma, "COLUMNS", 32)
        monkeypatch.setattr(triton_tma, "STEP_BYTES", 32)
        monkeypatch.setattr(triton_tma, "_processors", lambda device: 3)


def run(tensors: list[Tensor], slope: float, impl: str) -> list[Tensor]:
    """Units, the output, and the gradients of x and both weights."""
    x, up, down = (t.detach().requires_grad_() for t in tensors)
    units = squared_linear(x, up, slope, impl)
    output = F.linear(units, down)
    direction = torch.linspace(-1, 1, output.numel(), device=DEVICE).view_as(output).to(output.dtype)
    return [units.detach(), output.detach(), *torch.autograd.grad(output, (x, up, down), direction)]


def assert_same(actual: list[Tensor], expected: list[Tensor], units: float, gradients: float) -> None:
    for own, other, allowed in zip(actual, expected, (units, *[gradients] * 4), strict=True):
        assert own.shape == other.shape
        if other.numel():
            error = (own.double() - other).norm() / other.norm().clamp(min=1e-9)
            assert error <= allowed, f"{error:.1e}"


def draw(rows: int, width: int, hidden: int, dtype: torch.dtype) -> list[Tensor]:
    shapes = (rows, width), (hidden, width), (8, hidden)
    return [torch.randn(shape, device=DEVICE).to(dtype) for shape in shapes]


def check(tensors: list[Tensor], slope: float, impl: str) -> None:
    half = tensors[0].dtype == torch.bfloat16
    expected = run([t.double() for t in tensors], slope, "reference")
    actual = run(tensors, slope, impl)
    assert actual[0].dtype == tensors[0].dtype
    assert_same(actual, expected, *((1e-2, 2e-2) if half else (1e-5, 1e-5)))


@pytest.mark.parametrize("impl", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "slope"),
    [((0, 16, 32), 0.5), ((1, 8, 8), 0.0), ((16, 16, 32), 0.0), ((37, 40, 72), 0.5)],
    ids=str,
)
def test_it_equals_the_reference(shape: tuple[int, int, int], slope: float, dtype: torch.dtype, impl: str):
    check(draw(*shape, dtype), slope, impl)


@pytest.mark.parametrize("shape", [(3, 1, 1), (17, 19, 23), (5, 0, 7), (5, 7, 0)], ids=str)
def test_masks_allow_any_shape(shape: tuple[int, int, int]):
    check(draw(*shape, torch.float32), 0.5, "triton")


@pytest.mark.parametrize("impl", PATHS)
def test_no_width_gives_zeros(impl: str):
    units = squared_linear(torch.zeros(3, 0, device=DEVICE), torch.zeros(8, 0, device=DEVICE), 0.5, impl)
    assert (units == 0).all()


@pytest.mark.parametrize("impl", PATHS)
def test_views_are_read_where_they_begin(impl: str):
    """Strided rows, and a weight that does not begin at a multiple of 16 bytes."""
    x = torch.randn(40, 9, device=DEVICE).T[:8].T
    up = torch.randn(16 * 8 + 1, device=DEVICE)[1:].view(16, 8)
    assert not x.is_contiguous()
    assert up.data_ptr() % 16
    check([x, up, torch.randn(8, 16, device=DEVICE)], 0.5, impl)


@pytest.mark.parametrize("impl", PATHS)
def test_products_are_rounded_before_they_are_squared(impl: str):
    """1 + 2⁻⁸ is 1 in bfloat16; so is its square, which would else be 1 + 2⁻⁷."""
    x = torch.tensor([[1.0, 2.0**-8] + [0.0] * 6], device=DEVICE).bfloat16()
    up = torch.ones(8, 8, device=DEVICE).bfloat16()
    assert (squared_linear(x, up, 0.5, impl) == 1).all()


@pytest.mark.parametrize("impl", ["units", "tma"])
def test_the_slope_at_zero_is_zero(impl: str):
    if impl == "tma" and not HOPPER:
        pytest.skip("no tensor descriptors")
    module = triton_tma if impl == "tma" else triton_units
    weight = torch.tensor([0.0, -2.0, 2.0, -0.0] * 2, device=DEVICE)[:, None].repeat(1, 4)
    x = torch.tensor([[1.0, 0.0, 0.0, 0.0]], device=DEVICE)
    units, slopes = module.units_and_slopes(x, weight, 0.5)
    assert units[0, :4].tolist() == [0, 1, 4, 0]
    assert slopes[0, :4].tolist() == [0, -1, 4, 0]


@pytest.mark.learning
def test_the_kernels_compile_for_a_gpu(tmp_path: Path):
    """What Triton's interpreter takes its compiler may refuse; no GPU is needed to ask it."""
    lines = [line.split(maxsplit=2) for line in compiled("compile_triton_squared_mlp.py", tmp_path)]
    assert lines[0][0] == "multiply_persistently"
    assert lines[0][2] == "tensor copies, matrix products"
    assert [line[0] for line in lines[1:]] == ["multiply"] * 2 * len(triton_units.TILES)
    assert all(int(line[1]) <= SHARED_MEMORY for line in lines)
