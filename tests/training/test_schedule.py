"""The learning rate over a run, and the published scheduler."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from trainers import make_trainer, run

from tmt.config import OptimConfig
from tmt.recipes import RECIPES
from tmt.training.scheduler import cosine_warmup, cosine_warmup_scheduler, momentum, rate_factor


@pytest.mark.parametrize(
    ("share", "factor"),
    [(0.0, 0.0), (0.05, 0.25), (0.1, 0.5), (0.2, 1.0), (0.4, 0.1 + 0.9 * (0.5 + math.sqrt(0.5) / 2)),
     (0.6, 0.55), (1.0, 0.1), (1.3, 0.1)],
)  # fmt: skip
def test_factors(share: float, factor: float):
    assert cosine_warmup(share, warmup=0.2, min_ratio=0.1) == pytest.approx(factor)


@given(st.floats(0, 0.99), st.floats(0, 1))
def test_it_rises_to_the_peak_and_falls_to_the_floor(warmup: float, floor: float):
    factors = [cosine_warmup(i / 200, warmup, floor) for i in range(201)]
    peak = max(range(201), key=factors.__getitem__)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(factors) <= 1
    assert factors[-1] == pytest.approx(floor)
    assert cosine_warmup(warmup, warmup, floor) == pytest.approx(1)


def test_no_warmup_starts_at_the_peak():
    assert cosine_warmup(0.0, 0.0, 0.1) == 1
    assert 0 <= cosine_warmup(1.0, 1.0, 0.1) <= 1


def rates_of(warmup_steps: int, total_steps: int, **options: float) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cosine_warmup_scheduler(optimizer, warmup_steps, total_steps, **options)
    rates = []
    for _ in range(total_steps + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_published_scheduler():
    rates = rates_of(10, 110)
    assert rates[:11] == pytest.approx([2.0 * i / 10 for i in range(11)])
    assert rates[60] == pytest.approx(2.0 * 0.55)
    assert rates[110] == pytest.approx(2.0 * 0.1)
    assert rates_of(0, 5, min_lr_ratio=0.0)[0] == pytest.approx(2.0)
    assert rates_of(0, 5, min_lr_ratio=0.0)[5] == pytest.approx(0.0)


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(-1, 10), (10, 10), (11, 10), (0, 0)])
def test_impossible_schedules(warmup_steps: int, total_steps: int):
    with pytest.raises(ValueError, match="warmup_steps"):
        cosine_warmup_scheduler(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), warmup_steps, total_steps)


def test_a_run_follows_the_schedule_in_every_group(tmp_path: Path):
    optim = dict(lr=0.02, adamw_lr=0.004, warmup=0.5, min_lr_ratio=0.25)
    trainer = make_trainer(tmp_path, steps=4, optim=optim)
    peaks = [group["peak_lr"] for o in trainer.optimizers for group in o.param_groups]
    assert sorted(set(peaks)) == [0.004, 0.02]
    lines = run(trainer)
    factors = [0.0, 0.5, 1.0, 0.625]
    assert [line["lr"] for line in lines if "lr" in line] == pytest.approx([0.02 * f for f in factors])
    rates = [group["lr"] for o in trainer.optimizers for group in o.param_groups]
    assert rates == pytest.approx([0.625 * peak for peak in peaks])


GOLF = OptimConfig(**RECIPES["golf"]["optim"])


@pytest.mark.parametrize(("share", "factor"), [(0, 1), (0.333, 1), (0.6665, 0.5), (1, 0), (1.01, 0)])
def test_the_warmdown_of_the_golf_recipe(share: float, factor: float):
    assert rate_factor(share, GOLF) == pytest.approx(factor, abs=1e-9)


@given(st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 0.3))
def test_a_warmdown_is_flat_then_falls_without_a_jump(fall: float, floor: float, warmup: float):
    config = OptimConfig(schedule="warmdown", warmdown=fall, min_lr_ratio=floor, warmup=warmup)
    factors = [rate_factor(i / 1000, config) for i in range(1001)]
    falling = factors[round(1000 * warmup) + 1 :]
    assert falling == sorted(falling, reverse=True)
    assert max(abs(a - b) for a, b in itertools.pairwise(falling)) <= 1.001e-3 / fall
    assert factors[-1] == pytest.approx(floor)
    assert factors[0] == (0 if warmup else 1)


def test_momentum_rises_in_a_straight_line():
    steps = 4600
    shares = {0: 0.92, 750: 0.945, 1500: 0.97, 4600: 0.97}
    for step, expected in shares.items():
        assert momentum(step / steps, GOLF) == pytest.approx(expected, abs=1e-4)
    assert momentum(0.0, OptimConfig(momentum=0.9)) == 0.9


def test_muon_is_told_its_momentum(tmp_path: Path):
    trainer = make_trainer(
        tmp_path, steps=4, optim=dict(momentum_start=0.5, momentum=0.9, momentum_warmup=0.5)
    )
    muon = trainer.optimizers[0].param_groups[0]
    seen = []
    for _ in range(4):
        trainer.take_step()
        seen.append(muon["momentum"])
    assert seen == pytest.approx([0.5, 0.7, 0.9, 0.9])
    assert all("momentum" not in group for group in trainer.optimizers[1].param_groups)
