"""Batched Muon is `torch.optim.Muon`, and what equal rows and other polynomials make of it."""

import copy

import pytest
import torch
from torch import nn

from tmt.training import muon
from tmt.training.muon import ORTHOGONALISERS, Muon, orthogonalised

SHAPES = [(24, 24), (24, 24), (16, 40), (24, 24), (40, 16), (40, 16), (16, 40), (32, 20)]
SETTINGS = dict(lr=0.02, weight_decay=0.1, momentum=0.9)


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def take_step(optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if index == 1 and seed == 0 else gradient
    optimizer.step()


@pytest.mark.parametrize("batch", [1, 3 * 24 * 24, 2**20])
def test_steps_are_those_of_torch(batch: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(muon, "BATCH_ELEMENTS", batch)
    ours, theirs = parameters(), parameters()
    optimizer = Muon(ours, **SETTINGS)
    reference = torch.optim.Muon(theirs, adjust_lr_fn="original", **SETTINGS)
    for seed in range(4):
        take_step(optimizer, seed)
        take_step(reference, seed)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.06 * 0.02)


def test_a_state_that_is_saved_goes_on_to_the_bit():
    whole, stopped = parameters(), parameters()
    optimizer = Muon(whole, **SETTINGS)
    first = Muon(stopped, **SETTINGS)
    for seed in range(2):
        take_step(optimizer, seed)
        take_step(first, seed)
    resumed = Muon(stopped, **SETTINGS)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    take_step(optimizer, 2)
    take_step(resumed, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))


def update(gradient: torch.Tensor, **settings) -> torch.Tensor:
    """The first update of a zero matrix at rate 1, without the factor of its shape."""
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    Muon([parameter], lr=1.0, weight_decay=0.0, **settings).step()
    return -parameter.detach() / max(1, gradient.shape[0] / gradient.shape[1]) ** 0.5


def wild_rows() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(64, 256) * torch.logspace(-4, 3, 64)[torch.randperm(64), None]


@pytest.mark.parametrize(
    ("orthogonaliser", "low", "high"), [("newton-schulz", 0.66, 1.16), ("polar-express", 0.84, 1.16)]
)
def test_equal_rows_give_every_direction_its_due(orthogonaliser: str, low: float, high: float):
    settings = dict(orthogonaliser=orthogonaliser)
    values = torch.linalg.svdvals(update(wild_rows(), equal_rows=True, **settings))
    assert low <= values.min()
    assert values.max() <= high
    assert torch.linalg.svdvals(update(wild_rows(), **settings)).min() < 0.1


def test_the_polynomials_reach_one_in_exact_arithmetic():
    """Of the singular values a matrix of norm 1 with equal rows has, in float64."""
    for name, (low, high) in {"newton-schulz": (0.68, 1.14), "polar-express": (0.86, 1.14)}.items():
        x = torch.linspace(0.01, 1, 2000, dtype=torch.float64)
        for a, b, c in ORTHOGONALISERS[name]:
            x = a * x + b * x**3 + c * x**5
        assert low - 0.01 <= x.min()
        assert x.max() <= high + 0.01


def test_row_scales_and_the_gradient_scale_do_not_matter():
    gradient, scales = torch.randn(24, 40), torch.logspace(-2, 2, 24)[:, None]
    expected = update(gradient, equal_rows=True)
    torch.testing.assert_close(update(gradient * scales, equal_rows=True), expected, rtol=0, atol=0.02)
    torch.testing.assert_close(update(gradient * 1e-3, equal_rows=True), expected, rtol=0, atol=0.02)
    assert (update(gradient * scales) - update(gradient)).abs().max() > 0.1


@pytest.mark.parametrize("equal_rows", [False, True])
def test_zeros_stay_zeros(equal_rows: bool):
    gradient = torch.randn(32, 20)
    gradient[7] = 0
    assert not update(gradient, equal_rows=equal_rows)[7].any()
    assert torch.equal(update(torch.zeros(32, 20), equal_rows=equal_rows), torch.zeros(32, 20))


def test_a_tall_matrix_moves_further():
    gradient = torch.randn(256, 64)
    assert 1.6 < torch.linalg.matrix_norm(2 * update(gradient, equal_rows=True), 2) < 2.4


def test_without_a_gradient_only_the_decay_acts():
    parameter = nn.Parameter(torch.randn(24, 24))
    start = parameter.detach().clone()
    parameter.grad = torch.zeros_like(parameter)
    Muon([parameter], lr=0.5, weight_decay=0.1, equal_rows=True).step()
    torch.testing.assert_close(parameter.detach(), start * (1 - 0.5 * 0.1), rtol=0, atol=0)


def test_a_step_on_a_quadratic_goes_down():
    parameter, target = nn.Parameter(torch.randn(24, 40)), torch.randn(24, 40)
    optimizer = Muon([parameter], lr=0.02, weight_decay=0.0, equal_rows=True)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (parameter - target).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)


def test_momentum_is_what_the_group_says_now():
    """G + μ (μ' b + G), with μ changed between the steps."""
    parameter, gradients = nn.Parameter(torch.zeros(24, 24)), torch.randn(2, 24, 24)
    optimizer = Muon([parameter], lr=1.0, weight_decay=0.0)
    before = torch.zeros(24, 24)
    for momentum, gradient in zip((0.5, 0.9), gradients, strict=True):
        before = parameter.detach().clone()
        optimizer.param_groups[0]["momentum"] = momentum
        parameter.grad = gradient
        optimizer.step()
    wanted = gradients[1] + 0.9 * (0.9 * gradients[0] + gradients[1])
    expected = orthogonalised(wanted[None], ORTHOGONALISERS["newton-schulz"])[0].float()
    torch.testing.assert_close(before - parameter.detach(), expected, rtol=0, atol=0.02)
