import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tmt.analysis import permutation_test
from tmt.errors import InputError

RESULTS = Path(__file__).parents[2] / "results" / "2026-11-23_toeplitz"


@pytest.mark.parametrize("pairs", [1, 2, 3, 8, 20])
def test_no_p_value_is_below_what_the_models_allow(pairs: int):
    assert permutation_test(np.zeros(pairs), np.ones(pairs)) == 0.5**pairs
    assert permutation_test(np.ones(pairs), np.zeros(pairs)) == 1


def test_one_pair_the_other_way():
    """Differences −3, −2, 1 and −1, −1, 3: two of the eight sums with any signs are as low, and five."""
    assert permutation_test([0, 0, 1], [3, 2, 0]) == 2 / 8
    assert permutation_test([0, 0, 3], [1, 1, 0]) == 5 / 8


def test_every_exchange_is_counted():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 7))
    seen = (a - b).sum()
    swapped = [sum(np.where(swap, b - a, a - b)) for swap in product([False, True], repeat=7)]
    assert permutation_test(a, b) == np.mean(np.array(swapped) <= seen + 1e-12)


def test_pairs_are_exchanged_on_their_own():
    """The second pair lies wholly above the first: that it does is no noise."""
    assert permutation_test([1, 101, 201, 301], [2, 102, 202, 302]) == 1 / 16


def test_equal_values_are_no_evidence():
    assert permutation_test([0, 0], [0, 0]) == 1
    assert permutation_test(np.full(5, 1 / 3), np.full(5, 1 / 3)) == 1
    assert permutation_test([0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2]) == 0.75


def test_chance_is_no_more_often_significant_than_it_says():
    """Layers of a model that share its luck, and no true difference."""
    rng = np.random.default_rng(0)

    def models() -> np.ndarray:
        return (rng.normal(size=(6, 1)) + 0.3 * rng.normal(size=(6, 4))).mean(1)

    found = np.array([permutation_test(models(), models()) for _ in range(1000)])
    for level in (1 / 16, 1 / 4, 1 / 2):
        assert (found <= level).mean() == pytest.approx(level, abs=0.04)


@pytest.mark.parametrize(
    ("a", "b", "complaint"),
    [
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]], "mean over its layers"),
        ([1, 2], [1], "as many of one"),
        ([], [], "one figure"),
        ([np.nan], [1], "finite"),
        (np.zeros(21), np.ones(21), "21 pairs"),
    ],
)
def test_refusals(a, b, complaint: str):
    with pytest.raises(InputError, match=complaint):
        permutation_test(a, b)


def printed() -> list[tuple[str, str, float]]:
    """Start, what was trained and p of the table of claim C7."""
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    return [
        (row[0], row[1], float(row[5])) for row in rows if row[:1] in (["published"], ["identity"]) and row[5]
    ]


@pytest.mark.parametrize(("start", "trained", "p"), printed())
def test_the_page_has_the_p_values_of_its_records(start: str, trained: str, p: float):
    lines = (RESULTS / "operator_index.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["start"] == start]

    def distances(trained: str) -> list[float]:
        """Mean abs(index) of the layers of every seed's model."""
        kind, _, part = trained.partition(", ")
        found = [r for r in records if r["trained"].startswith(kind[:8]) and r["part"] == (part or "model")]
        assert [record["seed"] for record in found] == [0, 1, 2]
        return [np.abs([layer["index"] for layer in record["layers"]]).mean() for record in found]

    assert permutation_test(distances("language"), distances(trained)) == p


def test_the_page_compares_every_kind():
    assert len(printed()) == 6
