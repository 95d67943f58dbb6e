"""The squared leaky ReLU and the MLP around it."""

import pytest
import torch

from tmt.layers.squared_mlp import SquaredMLP, squared_leaky_relu


@pytest.mark.parametrize(("x", "value", "slope"), [(-2.0, 1.0, -1.0), (2.0, 4.0, 4.0), (0.0, 0.0, 0.0)])
def test_values_and_slopes(x: float, value: float, slope: float):
    point = torch.tensor(x, requires_grad=True)
    squared = squared_leaky_relu(point, 0.5)
    squared.backward()
    assert (squared.item(), point.grad.item()) == (value, slope)


def test_a_slope_of_zero_is_the_squared_relu():
    x = torch.randn(100)
    assert torch.equal(squared_leaky_relu(x, 0.0), x.relu().square())


def test_gradcheck():
    mlp, x = SquaredMLP(4, 6, 0.5).double(), torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mlp, x)


@pytest.mark.parametrize(("slope", "dead"), [(0.5, False), (0.0, True)])
def test_a_leaky_unit_learns_below_zero(slope: float, dead: bool):
    mlp = SquaredMLP(4, 6, slope)
    with torch.no_grad():
        mlp.inner.weight.copy_(-mlp.inner.weight.abs())
    mlp(torch.rand(5, 4)).sum().backward()
    assert (mlp.inner.weight.grad == 0).all() == dead
    assert dead or (mlp.inner.weight.grad != 0).all()


def test_flops_are_two_a_weight():
    mlp = SquaredMLP(4, 6, 0.5)
    assert mlp.flops(5) == 2 * 5 * sum(p.numel() for p in mlp.parameters())
