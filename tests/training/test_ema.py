"""The moving average of the weights."""

import pytest
import torch
from torch import nn

from tmt.training.ema import weight_average


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("memory", torch.zeros(2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def advance(self) -> None:
        with torch.no_grad():
            for tensor in (self.weight, self.memory, self.steps):
                tensor += 1


def test_constant_growth_is_followed_at_its_closed_form():
    model, decay, steps = Counter(), 0.9, 25
    average = weight_average(model, decay, ramp=False)
    for _ in range(steps):
        model.advance()
        average.update_parameters(model)
    lag = decay / (1 - decay) * (1 - decay**steps)
    for tensor in (average.module.weight, average.module.memory):
        assert tensor.tolist() == pytest.approx([steps - lag] * len(tensor), rel=1e-5)
    assert average.module.steps == steps


def test_the_start_is_kept_at_the_power_of_the_decay():
    model = Counter()
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = weight_average(model, 0.5, ramp=False)
    with torch.no_grad():
        model.weight.zero_()
    for _ in range(3):
        average.update_parameters(model)
    assert average.module.weight.tolist() == [0.125] * 3


def test_a_ramp_forgets_the_start_and_ends_at_the_decay():
    model, left = Counter(), 1.0
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = weight_average(model, 0.9, ramp=True)
    with torch.no_grad():
        model.weight.zero_()
    for k in range(1, 200):
        left *= min(0.9, (1 + k) / (10 + k))
        average.update_parameters(model)
        assert float(average.module.weight[0].detach()) == pytest.approx(left, rel=1e-4)
    assert (1 + 79) / (10 + 79) < 0.9 < (1 + 81) / (10 + 81)


def test_the_average_shares_no_memory_with_the_model():
    model = Counter()
    average = weight_average(model, 0.9, ramp=True)
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert own.isdisjoint(tensor.data_ptr() for tensor in average.module.state_dict().values())


def test_the_count_of_updates_is_known_to_the_host():
    """torch hands over a copy on the device, where a look at it would wait."""
    average, ours = weight_average(Counter(), 0.9, ramp=True), torch.zeros(2)
    average.multi_avg_fn([ours], [torch.ones(2)], None)
    torch.testing.assert_close(ours, torch.full((2,), 1 - 2 / 11))
