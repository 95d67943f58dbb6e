import json
from pathlib import Path

import pytest
import torch

from tmt.commands.inspect import InspectOptions, inspect
from tmt.errors import InputError
from tmt.model.transformer import Transformer

KERNELS = {
    "0": torch.tensor([[[0.0, 1.0, 0.0, 0.0]], [[1.0, -0.5, 0.0, 0.0]]], dtype=torch.float64),
    "1": torch.ones(1, 1, 4, dtype=torch.float64),
}


@pytest.fixture
def run(runs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose model has the kernels above."""
    monkeypatch.setattr(Transformer, "kernels", lambda self: KERNELS)
    return runs["transformer"]


def test_json_lines_one_a_kernel(run: str, capsys: pytest.CaptureFixture[str]):
    inspect(InspectOptions(run=run, operator=True, json=True, device="cpu"))
    records = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [(r["layer"], r["head"], r["index"]) for r in records] == [
        ("0", 0, -1),
        ("0", 1, 0),
        ("1", 0, None),
    ]
    assert records[0]["log10_condition"] is None
    assert [round(bound, 2) for bound in records[1]["log10_condition"]] == [0.11, 0.45]


def test_table(run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    inspect(InspectOptions(run=run, operator=True, device="cpu"))
    lines = capsys.readouterr().out.splitlines()
    first = next(number for number, line in enumerate(lines) if "──" in line) + 1
    shift, invertible, running_sum = (line.split() for line in lines[first : first + 3])
    assert shift[:6] == ["0", "0", "-1", "–", "1.0e+00", "∞"]
    assert invertible[:6] == ["0", "1", "0", "0", "3.3e-01", "0.1–0.5"]
    assert running_sum[:4] == ["1", "0", "–", "0"]


def test_picture_beside_the_table(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    path = tmp_path / "symbols.png"
    inspect(InspectOptions(run=run, operator=True, plot=path, device="cpu"))
    assert path.exists()
    assert f"figure: {path}" in capsys.readouterr().err


def test_a_model_without_kernels_is_refused(runs: dict[str, str]):
    with pytest.raises(InputError, match="tmt has no Toeplitz kernels to analyse"):
        inspect(InspectOptions(run=runs["plain"], operator=True, device="cpu"))


def test_a_bad_picture_is_refused_before_the_work(run: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("matplotlib")
    with pytest.raises(InputError, match="must end in"):
        inspect(InspectOptions(run=run, operator=True, plot=Path("symbols.txt"), device="cpu"))
    assert capsys.readouterr().out == ""


def test_a_picture_needs_operator(run: str):
    with pytest.raises(InputError, match="give --operator"):
        inspect(InspectOptions(run=run, text="x", plot=Path("symbols.svg"), device="cpu"))
