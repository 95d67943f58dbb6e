import pytest
import torch
from kernel_families import harmonic, noise

from tmt.convert import DiagonalKernel, exact_state


@pytest.mark.parametrize("n", [1, 2, 3, 16, 127, 512, 1000])
@pytest.mark.parametrize("family", [noise, harmonic])
def test_exact_within_the_kernel_and_periodic_beyond(n: int, family):
    kernel = family(n)
    state = exact_state(kernel)
    taps = state.kernel(2 * (n + 1))
    size = float(kernel.abs().max())
    torch.testing.assert_close(taps[:n], kernel, rtol=0, atol=1e-9 * size)
    torch.testing.assert_close(taps[n + 1 :], taps[: n + 1], rtol=0, atol=1e-9 * size * n)
    assert float(taps[n]) == pytest.approx(-float(kernel.sum()), abs=1e-9 * size * n)
    assert state.order == n
    torch.testing.assert_close(state.modes.abs(), torch.ones(len(state.modes)).double())


def test_modes_left_out_change_no_tap_by_more_than_their_coefficients():
    kernel = harmonic(200)
    state = exact_state(kernel)
    ranked = state.coefficients.abs().argsort(descending=True)
    for count in (1, 10, 50, 90):
        kept, dropped = ranked[:count], ranked[count:]
        truncated = DiagonalKernel(state.head, state.modes[kept], state.coefficients[kept])
        off = (truncated.kernel(200) - kernel).abs().max()
        assert 0 < off <= state.coefficients[dropped].abs().sum() * (1 + 1e-9)
