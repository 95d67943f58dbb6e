"""Batched Muon is `torch.optim.Muon`."""

import copy

import pytest
import torch
from torch import nn

from tmt.training import muon
from tmt.training.muon import Muon

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
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 * 0.02)


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
