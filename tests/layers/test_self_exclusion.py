"""Nothing of a token's own value is left in what its heads hear."""

import torch

from tmt.layers.self_exclusion import without_own_value


def test_the_rest_is_orthogonal_to_the_value_of_its_own_group():
    heads, values = torch.randn(7, 6, 5, dtype=torch.float64), torch.randn(7, 2, 5, dtype=torch.float64)
    rest = without_own_value(heads, values)
    shared = values.repeat_interleave(3, 1)
    torch.testing.assert_close((rest * shared).sum(-1), torch.zeros(7, 6, dtype=torch.float64))
    along = ((heads - rest) * shared).sum(-1) / shared.norm(dim=-1)
    torch.testing.assert_close(along.abs(), (heads - rest).norm(dim=-1))


def test_what_is_the_own_value_vanishes_and_what_is_orthogonal_stays():
    values = 9 * torch.randn(4, 1, 8)
    assert without_own_value(-2 * values, values).abs().max() < 1e-5
    rest = without_own_value(torch.randn(4, 1, 8), values)
    torch.testing.assert_close(without_own_value(rest, values), rest)


def test_a_zero_value_takes_nothing():
    heads = torch.randn(3, 2, 4)
    assert torch.equal(without_own_value(heads, torch.zeros(3, 1, 4)), heads)
