"""Means, differences and intervals against what other libraries say of the same numbers."""

import numpy as np
import pytest
from scipy import stats

from tmt.study.statistics import contrast, mean, spread

RANDOM = np.random.default_rng(0)
SEEDS = range(5)
SCORES = {
    name: {seed: float(1.4 + 0.01 * i + 0.02 * seed + RANDOM.normal(0, 0.003)) for seed in SEEDS}
    for i, name in enumerate(("base", "near", "far"))
}
FAR = {"far": 1.0, "base": -1.0}


def values(name: str) -> list[float]:
    return list(SCORES[name].values())


def test_a_mean_has_students_interval():
    estimate = mean(values("base"))
    low, high = stats.ttest_1samp(values("base"), 0).confidence_interval(0.95)
    assert (estimate.mean - estimate.half, estimate.mean + estimate.half) == pytest.approx((low, high))
    assert spread(values("base")) == pytest.approx(np.std(values("base"), ddof=1))


def test_one_seed_has_no_interval():
    assert (mean([1.5]).half, spread([1.5])) == (None, None)
    one = {name: {0: seeds[0]} for name, seeds in SCORES.items()}
    assert contrast(one, FAR, 1, pooled=False).half is None
    assert contrast(one, FAR, 1, pooled=True).half is None
    assert not contrast(one, FAR, 1, pooled=True).decided


@pytest.mark.parametrize("comparisons", [1, 7])
def test_a_difference_is_a_paired_t_test_corrected_by_bonferroni(comparisons: int):
    estimate = contrast(SCORES, FAR, comparisons, pooled=False)
    test = stats.ttest_rel(values("far"), values("base"))
    low, high = test.confidence_interval(1 - 0.05 / comparisons)
    assert estimate.mean - estimate.half == pytest.approx(low)
    assert estimate.mean + estimate.half == pytest.approx(high)


@pytest.mark.parametrize("gap", np.linspace(-0.004, 0.004, 9))
def test_decided_is_what_the_test_says(gap: float):
    """Undecided where the interval holds zero, which is where p is above 0.05 over the comparisons."""
    near = {seed: value + gap for seed, value in SCORES["base"].items()}
    scores = {"base": SCORES["base"], "near": {s: v + 0.001 * (-1) ** s for s, v in near.items()}}
    p = stats.ttest_rel([*scores["near"].values()], values("base")).pvalue
    estimate = contrast(scores, {"near": 1, "base": -1}, 3, pooled=False)
    assert estimate.decided == (p < 0.05 / 3)


def test_pooled_for_two_runs_is_the_paired_test():
    two = {name: SCORES[name] for name in ("base", "far")}
    own, pooled = (contrast(two, FAR, 4, pooled=pooled) for pooled in (False, True))
    assert (pooled.mean, pooled.half) == pytest.approx((own.mean, own.half))


def test_pooled_is_a_two_way_analysis_of_variance():
    """Balanced, the spread is what is left after both means: SS / ((runs − 1)(seeds − 1))."""
    table = np.array([values(name) for name in SCORES])
    left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    error = np.sqrt((left**2).sum() / freedom * 2 / len(SEEDS))
    estimate = contrast(SCORES, FAR, 2, pooled=True)
    assert estimate.mean == pytest.approx(table[2].mean() - table[0].mean())
    assert estimate.half == pytest.approx(stats.t.ppf(1 - 0.025 / 2, freedom) * error)


def test_pooled_stands_a_run_with_fewer_seeds():
    """The seed that is missing does not shift the difference."""
    fewer = {**SCORES, "far": {seed: SCORES["far"][seed] for seed in (3, 4)}}
    estimate = contrast(fewer, FAR, 1, pooled=True)
    assert estimate.count == 2
    assert estimate.mean == pytest.approx(0.02, abs=0.01)


def test_an_interaction_is_a_contrast():
    scores = {"a": {1: 1.0, 2: 1.2}, "b": {1: 2.0, 2: 2.1}, "c": {1: 4.0, 2: 4.4}, "d": {1: 8.0, 2: 8.1}}
    estimate = contrast(scores, {"a": 1, "b": -1, "c": -1, "d": 1}, 1, pooled=False)
    assert estimate.mean == pytest.approx(((1 - 2 - 4 + 8) + (1.2 - 2.1 - 4.4 + 8.1)) / 2)


def test_only_seeds_that_all_have_are_paired():
    scores = {"base": {1: 1.0, 2: 2.0}, "far": {2: 2.5, 3: 9.0}}
    assert contrast(scores, FAR, 1, pooled=False).mean == 0.5
    assert contrast({"base": {1: 1.0}, "far": {2: 1.0}}, FAR, 1, pooled=False) is None
