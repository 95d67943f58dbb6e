"""The rate of a product, and which share of it the operations of a row reach."""

from importlib import import_module

import pytest
import torch
from bench_rows import row

from tmt.bench.measure import SHARE, measure
from tmt.bench.models import build
from tmt.bench.products import product_rate
from tmt.bench.series import Pair, Series, Settings
from tmt.bench.table import line
from tmt.bench.timing import Times
from tmt.bench.train import series

CPU = torch.device("cpu")
SETTINGS = Settings((16,), ("fp32",), 2, arch="tmt", preset="nano", only="", seconds=0.0, device=CPU)


def test_the_rate_is_that_of_the_clock(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.bench.products.SIDE", 10)
    monkeypatch.setattr("tmt.bench.products.interleaved", lambda *_: (Times([0.5, 2, 3]), Times([4, 4])))
    assert product_rate(1, CPU) == 2 * 10**3 / 2


@pytest.mark.parametrize("flops", [None, 3_000])
def test_a_row_says_the_share_where_operations_are_known(flops: int | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(import_module("tmt.bench.measure"), "product_rate", lambda seconds, device: 5e3)
    pair = Pair(lambda: torch.ones(9), lambda: None, tokens=1, flops=flops, facts={"preset": "nano"})
    (found,) = measure(Series("a", "b", "c", "train", "fp32", lambda length: pair), SETTINGS)
    share = {} if flops is None else {"flops": flops, SHARE: flops / found.median_s / 5e3}
    assert found.facts == {"preset": "nano"} | share


def test_the_share_is_said_in_words():
    assert "float32 product" not in line(row())
    assert line(row(facts={SHARE: 0.412})).endswith(", 41% of the rate of a float32 product")


def test_training_counts_three_forward_passes_where_every_layer_runs():
    whole, half = (found.at(16) for found in series(SETTINGS))
    assert whole.flops == 3 * 2 * build("tmt", SETTINGS).flops(16)
    assert half.flops is None
