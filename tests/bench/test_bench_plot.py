from pathlib import Path

import pytest
from bench_rows import row

from tmt.bench.plot import plot

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def text_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")


def test_lines_over_lengths_carry_the_fitted_exponent(tmp_path: Path):
    rows = [row(), row(length=256, median_s=8.0, exponent=1.5, peer_exponent=2.0)]
    drawn = plot("ops", rows, tmp_path).read_text()
    for text in ("forward fp32: ours, length^1.50", "forward fp32: theirs, length^2.00", ">64<", ">256<"):
        assert text in drawn


def test_one_length_makes_bars_and_each_name_a_panel(tmp_path: Path):
    rows = [row(name="tmt"), row(name="tmt", dtype="bf16"), row(name="transformer", ratio=0.5)]
    drawn = plot("train", rows, tmp_path).read_text()
    for text in (">tmt<", ">transformer<", "2.00×", "0.50×", "length 64"):
        assert text in drawn
