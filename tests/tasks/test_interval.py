import math

import pytest

from tmt.tasks.interval import interval, t_quantile


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (7, 2.3646), (30, 2.0423), (1000, 1.9623)],
)
def test_quantiles_of_students_distribution(freedom: int, quantile: float):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-5)


def test_mean_and_half_width():
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert interval([5.0]) == (5.0, None)
