"""The taps of every parameterisation, at the start and by their formula."""

import math

import pytest
import torch

from tmt.layers.implicit_kernel import ImplicitKernel
from tmt.layers.toeplitz_kernel import (
    DecayKernel,
    DeltaKernel,
    ExpSumKernel,
    Kernel,
    OnesKernel,
    RawKernel,
    SoftplusKernel,
)

SHAPE = (3, 2, 40)


def make(kind: type[Kernel], init: str = "identity") -> Kernel:
    torch.manual_seed(0)
    sizes = (*SHAPE, 5, 4) if kind is ExpSumKernel else SHAPE
    kernel = kind(*sizes).double()
    kernel.initialise(init)
    return kernel


KINDS = [RawKernel, DeltaKernel, SoftplusKernel, DecayKernel, ExpSumKernel, OnesKernel]


@pytest.mark.parametrize("kind", KINDS)
def test_a_shorter_kernel_is_the_beginning_of_a_longer_one(kind: type[Kernel]):
    kernel = make(kind)
    full = kernel(40)
    assert full.shape == SHAPE
    for length in (1, 2, 5, 39):
        torch.testing.assert_close(kernel(length), full[..., :length])


@pytest.mark.parametrize("kind", [RawKernel, DeltaKernel, DecayKernel, ExpSumKernel])
def test_kernels_start_near_the_identity_of_the_unshifted_channel(kind: type[Kernel]):
    taps = make(kind)(40).detach()
    taps[:, -1, 0] -= 1
    assert 0 < taps.abs().max() < 0.1


@pytest.mark.parametrize("kind", [RawKernel, DeltaKernel])
def test_he_initialisation_has_the_length_of_root_two_over_all_shifts(kind: type[Kernel]):
    weight = make(kind, "kaiming").weight.detach()
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (40 * 2)), rel=0.15)


def test_softplus_taps_are_positive_and_start_as_one_and_a_mean_of_the_past():
    taps = make(SoftplusKernel)(40)
    assert (taps > 0).all()
    assert taps[:, -1, 0].mean().item() == pytest.approx(1 + 1 / 40, abs=0.05)
    assert taps[..., 1:].mean().item() == pytest.approx(1 / 40, rel=0.05)


def test_decay_falls_by_half_at_the_half_life_and_goes_on_with_the_last_tap():
    kernel = make(DecayKernel)
    with torch.no_grad():
        kernel.weight.fill_(1.0)
    taps = kernel(80)
    for head, half_life in enumerate((20, 10, 5)):
        assert taps[head, 0, half_life].item() == pytest.approx(0.5, rel=1e-5)
        assert taps[head, 0, 2 * half_life].item() == pytest.approx(0.25, rel=1e-5)
    ratio = taps[..., 61:] / taps[..., 60:-1]
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))


def test_a_sum_of_exponentials_is_one():
    kernel = make(ExpSumKernel)
    with torch.no_grad():
        kernel.coefficient.normal_()
    taps = kernel(60)
    torch.testing.assert_close(taps[..., :4], kernel.head)
    modes, weights = kernel.powers(torch.tensor(1)), torch.view_as_complex(kernel.coefficient.detach())
    assert (modes.abs() < 1).all()
    for lag in (0, 1, 17, 55):
        torch.testing.assert_close(taps[..., 4 + lag], (weights * modes**lag).sum(-1).real)


def test_the_running_sum_has_nothing_to_train():
    kernel = make(OnesKernel)
    assert not list(kernel.parameters())
    assert (kernel(7) == 1).all()
    assert not kernel.state_dict()


def test_an_implicit_kernel_starts_as_the_identity_and_fades():
    torch.manual_seed(0)
    kernel = ImplicitKernel(6, 200).double()
    kernel.initialise("identity")
    taps = kernel(200)
    assert taps.shape == (6, 1, 200)
    torch.testing.assert_close(kernel(31), taps[..., :31])
    assert (taps[..., 0] - 1).abs().max() < 0.1
    with torch.no_grad():
        kernel.output.weight.zero_()
        kernel.output.bias.fill_(1.0)
    envelope = kernel(201)[:, 0, 1:]
    assert (envelope[:, 1:] < envelope[:, :-1]).all()
    assert envelope[-1, 60].item() == pytest.approx(0.01, rel=0.15)
