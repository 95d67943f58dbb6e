import pytest

from tmt.bench.growth import exponent


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.37, 2.0])
def test_a_power_law_gives_its_exponent(power: float):
    lengths = [1024, 4096, 16384]
    assert exponent(lengths, [3e-7 * length**power for length in lengths]) == pytest.approx(power)


def test_noise_around_a_power_law_is_averaged():
    lengths = [1000, 2000, 4000, 8000]
    costs = [length**1.5 * wobble for length, wobble in zip(lengths, [1.02, 0.98, 0.98, 1.02], strict=True)]
    assert exponent(lengths, costs) == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize(("lengths", "costs"), [([64], [1.0]), ([64, 64], [1.0, 2.0]), ([64, 128], [0, 5])])
def test_nothing_to_fit(lengths: list[int], costs: list[float]):
    assert exponent(lengths, costs) is None
