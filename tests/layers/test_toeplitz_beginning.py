"""With positive taps outputs grow; in float32 the beginning of a long text is as exact as a short one."""

import copy

import pytest
import torch
from torch import Tensor

from tiny_models import tiny
from tmt.layers.cache import Cache
from tmt.layers.toeplitz_convolution import ToeplitzConvolution
from tmt.layers.toeplitz_kernel import Kernel, OnesKernel, SoftplusKernel
from tmt.verify import check, subject_of

LENGTH, SHORT, HEADS, WIDTH = 8192, 100, 2, 3
KINDS = pytest.mark.parametrize("kind", [SoftplusKernel, OnesKernel])


def convolution(kind: type[Kernel]) -> ToeplitzConvolution:
    kernel = kind(HEADS, 1, LENGTH)
    kernel.initialise("kaiming")
    return ToeplitzConvolution(kernel, WIDTH, bias="none", mean=False, endless=False, decode="direct")


def mixed(layer: ToeplitzConvolution, x: Tensor) -> Tensor:
    return layer(x, Cache(torch.zeros(x.shape[:2], dtype=torch.long), None, None, keep=False))


def draw() -> Tensor:
    """Inputs (1, S, H, D) that do not add up to nothing."""
    return torch.randn(1, LENGTH, HEADS, WIDTH) + 0.3


def distance(actual: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((actual.double() - expected).abs().max() / expected.abs().max())


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
@KINDS
def test_what_comes_later_is_not_heard(kind: type[Kernel]):
    layer, x = convolution(kind), draw()
    later = x.clone()
    later[:, LENGTH // 2 :] = 1e4 * draw()[:, LENGTH // 2 :]
    before, after = (mixed(layer, row)[:, : LENGTH // 2] for row in (x, later))
    assert distance(after[:, :SHORT], before[:, :SHORT]) <= 3e-7
    assert distance(after, before) <= 3e-7


@torch.no_grad()
@KINDS
def test_the_beginning_is_as_exact_as_alone(kind: type[Kernel]):
    layer, x = convolution(kind), draw()
    exact = mixed(copy.deepcopy(layer).double(), x.double())[:, :SHORT]
    alone = distance(mixed(layer, x[:, :SHORT]), exact)
    assert distance(mixed(layer, x)[:, :SHORT], exact) <= 4 * alone


@KINDS
def test_so_are_gradients_of_the_last_inputs_and_taps(kind: type[Kernel]):
    """They mirror the first outputs: few products add up to them, all of the text to the others."""
    layer, x, upstream = convolution(kind), draw(), draw()

    def gradients(layer: ToeplitzConvolution, x: Tensor) -> list[Tensor]:
        """Of the last inputs (1, short, H, D) and, where they are trained, of the last taps (H, 1, short)."""
        leaves = [x.detach().requires_grad_(), *layer.parameters()]
        found = torch.autograd.grad(mixed(layer, leaves[0]), leaves, upstream[:, -x.shape[1] :].to(x))
        return [found[0][:, -SHORT:], *(weight[..., -SHORT:] for weight in found[1:])]

    exact = gradients(copy.deepcopy(layer).double(), x.double())
    alone = distance(gradients(layer, x[:, -SHORT:])[0], exact[0])
    for actual, expected in zip(gradients(layer, x), exact, strict=True):
        assert distance(actual, expected) <= 4 * alone


@pytest.mark.parametrize("kernel", ["softplus", "ones"])
def test_a_model_keeps_the_rules_of_causality(kernel: str):
    model = tiny("toeplitz", vocab_size=50, max_seq_len=1024, kernel_length=1024, d_model=8, kernel=kernel)
    report = check(subject_of(model), only=["future", "prefix"], length=1024)
    assert report.passed, [str(finding) for finding in report.broken]
