"""Means, spreads and differences of runs over seeds, with intervals that hold for all together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95

Scores = Mapping[str, Mapping[int, float]]
"""A figure of every run by its name and seed."""


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and what is known of it."""

    mean: float
    half: float | None
    """Half the width of its interval; None where the seeds are too few for one."""
    count: int
    """Seeds."""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.half is not None and abs(self.mean) > self.half


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation of the values that a sample is drawn from; None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def mean(values: Sequence[float]) -> Estimate:
    """The mean with Student's 95 % interval."""
    deviation = spread(values)
    half = None
    if deviation is not None:
        half = _quantile(len(values) - 1, 1) * deviation / math.sqrt(len(values))
    return Estimate(float(np.mean(values)), half, len(values))


def contrast(scores: Scores, weights: Mapping[str, float], comparisons: int, pooled: bool) -> Estimate | None:
    """A weighted sum of runs, such as a difference, taken seed by seed; None where no seed has them all.

    The interval is Bonferroni's: with a probability of at least 95 % all `comparisons` intervals hold what
    they are about. Its width comes from the differences of these runs alone (a paired t-test), or, `pooled`,
    from what is left of all runs once each run and each seed has its own mean (a block design, which assumes
    that seeds scatter all runs alike).
    """
    seeds = [seed for seed in _seeds(scores) if all(seed in scores.get(run, {}) for run in weights)]
    if not seeds:
        return None
    sums = [sum(weight * scores[run][seed] for run, weight in weights.items()) for seed in seeds]
    if not pooled:
        deviation, freedom = spread(sums), len(sums) - 1
        error = None if deviation is None else deviation / math.sqrt(len(sums))
        middle = float(np.mean(sums))
    else:
        middle, error, freedom = _block_design(scores, weights)
    half = None if error is None else _quantile(freedom, comparisons) * error
    return Estimate(middle, half, len(seeds))


def _block_design(scores: Scores, weights: Mapping[str, float]) -> tuple[float, float | None, int]:
    """Least squares of run + seed: the contrast, its standard error, and the degrees of freedom."""
    runs, seeds = list(scores), _seeds(scores)
    cells = [(run, seed, value) for run in runs for seed, value in scores[run].items()]
    design = np.zeros((len(cells), len(runs) + len(seeds)))
    for row, (run, seed, _) in enumerate(cells):
        design[row, runs.index(run)] = design[row, len(runs) + seeds.index(seed)] = 1
    values = np.array([value for *_, value in cells])
    means, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    wanted = np.zeros(design.shape[1])
    for run, weight in weights.items():
        wanted[runs.index(run)] = weight
    freedom = len(cells) - int(rank)
    if freedom < 1:
        return float(wanted @ means), None, freedom
    variance = float(np.sum((values - design @ means) ** 2)) / freedom
    error = math.sqrt(variance * float(wanted @ np.linalg.pinv(design.T @ design) @ wanted))
    return float(wanted @ means), error, freedom


def _seeds(scores: Scores) -> list[int]:
    return list(dict.fromkeys(seed for values in scores.values() for seed in values))


def _quantile(freedom: int, comparisons: int) -> float:
    """What |t| stays below with 95 % in all comparisons together."""
    from scipy.stats import t

    return float(t.ppf(1 - (1 - CONFIDENCE) / comparisons / 2, freedom))
