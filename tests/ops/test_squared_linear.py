"""Every path of the squared MLP's hidden units equals the readable one, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tmt.errors import InputError
from tmt.ops.squared_mlp import operator, squared_linear

SLOPES = [0.5, 0.0, 0.3]


def mlp(x: Tensor, up: Tensor, down: Tensor, slope: float, impl: str | None) -> Tensor:
    return F.linear(squared_linear(x, up, slope, impl), down)


def draw(
    rows: tuple[int, ...], dtype: torch.dtype, sizes: tuple[int, int, int] = (10, 23, 7)
) -> list[Tensor]:
    """x (…, D), W_up (H, D), W_down (D', H)."""
    width, hidden, outputs = sizes
    shapes = (*rows, width), (hidden, width), (outputs, hidden)
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def run(tensors: list[Tensor], slope: float, impl: str | None) -> list[Tensor]:
    """Output and the three gradients."""
    output = mlp(*tensors, slope, impl)
    direction = torch.linspace(-1, 1, output.numel()).view_as(output).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, tensors, direction)]


def assert_same(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for own, other in zip(actual, expected, strict=True):
        assert own.shape == other.shape
        size = max(1.0, other.abs().max().item()) if other.numel() else 1.0
        torch.testing.assert_close(own.double(), other.double(), rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("rows", [(0,), (1,), (37,), (2, 5), (2, 0, 3), ()], ids=str)
def test_double_precision_equals_the_reference(rows: tuple[int, ...], slope: float):
    tensors = draw(rows, torch.float64)
    assert_same(run(tensors, slope, "torch"), run(tensors, slope, "reference"), 1e-10)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("rows", [(0,), (1,), (37,), (2, 16)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_other_precisions_do(rows, slope: float, dtype: torch.dtype, tolerance: float):
    tensors = draw(rows, dtype)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    assert_same(run(tensors, slope, "torch"), run(exact, slope, "reference"), tolerance)


@pytest.mark.parametrize("slope", SLOPES)
def test_gradcheck(slope: float):
    assert torch.autograd.gradcheck(lambda *x: mlp(*x, slope, "torch"), draw((5,), torch.float64))


def test_tensors_need_not_be_contiguous():
    x, up, down = (t.detach() for t in draw((2, 6, 4), torch.float32))
    strided = [x.transpose(0, 2).contiguous().transpose(0, 2), up.T.contiguous().T, down.T.contiguous().T]
    assert not any(t.is_contiguous() for t in strided)
    expected = run([t.clone().requires_grad_() for t in (x, up, down)], 0.5, "reference")
    assert_same(run([t.requires_grad_() for t in strided], 0.5, "torch"), expected, 1e-5)


@pytest.mark.parametrize("impl", ["reference", "torch"])
def test_values_and_slopes(impl: str):
    x = torch.tensor([[-2.0], [2.0], [0.0], [-0.0]], requires_grad=True)
    units = squared_linear(x, torch.ones(1, 1), 0.5, impl)
    (slopes,) = torch.autograd.grad(units.sum(), x)
    assert units.flatten().tolist() == [1, 4, 0, 0]
    assert slopes.flatten().tolist() == [-1, 4, 0, 0]


def test_what_is_kept_is_units_and_slopes():
    """Two tensors of hidden size, where the reference keeps three."""
    rows, hidden = 50, 23

    def kept(impl: str) -> int:
        sizes: dict[int, int] = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.update({x.data_ptr(): x.numel()}) or x, lambda x: x
        ):
            output = mlp(*tensors, 0.5, impl)
        assert output.requires_grad
        return list(sizes.values()).count(rows * hidden)

    tensors = draw((rows,), torch.float32)
    assert (kept("torch"), kept("reference")) == (2, 3)


def test_autocast_gives_the_bits_of_a_linear_layer():
    x, up, down = draw((37,), torch.float32)
    results = []
    for path in ("torch", "reference"):
        with torch.autocast("cpu", torch.bfloat16):
            output = mlp(x.bfloat16(), up, down, 0.5, path)
        results.append([output, *torch.autograd.grad(output, (x, up, down), torch.ones_like(output))])
    for own, other in zip(*results, strict=True):
        assert own.dtype == other.dtype
        assert torch.equal(own, other)
    assert results[0][0].dtype == torch.bfloat16


def test_autocast_spares_double_precision():
    x, up, _ = draw((3,), torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        assert squared_linear(x, up, 0.5, "torch").dtype == torch.float64


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("impl", [None, "torch"])
def test_it_compiles_to_one_graph(impl: str | None, autocast: bool):
    tensors = draw((37,), torch.float32)
    compiled = torch.compile(mlp, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        outputs = compiled(*tensors, 0.5, impl), mlp(*tensors, 0.5, "reference")
    results = [[y, *torch.autograd.grad(y, tensors, torch.ones_like(y))] for y in outputs]
    assert_same(*results, 2e-2 if autocast else 1e-5)


def test_the_operator_keeps_the_rules_of_pytorch():
    x, up, _ = draw((5,), torch.float64)
    torch.library.opcheck(torch.ops.tmt.squared_linear.default, (x, up, 0.5, "torch"))


def test_a_second_derivative_is_refused():
    x, up, _ = draw((5,), torch.float64)
    units = operator.squared_linear(x, up, 0.5, "torch")
    (grad,) = torch.autograd.grad(units.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("x", "weight", "impl", "says"),
    [((3, 4), (5, 3), None, "not"), ((), (5, 3), None, "not"), ((3, 4), (4,), None, "not"),
     ((3, 4), (5, 4), "cuda", "implementation")],
)  # fmt: skip
def test_bad_input_is_named(x: tuple[int, ...], weight: tuple[int, ...], impl: str | None, says: str):
    with pytest.raises(InputError, match=says):
        squared_linear(torch.zeros(x), torch.zeros(weight), 0.5, impl)
