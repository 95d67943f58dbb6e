"""The losses of twenty steps are what they were: nothing in model, recipe or data order has moved unseen.

In float64, on the reference paths, with the orthogonaliser written out: the same numbers on every machine.
Where a change is meant, run this file as a script and put what it prints in place of LOSSES.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor
from trainers import make_trainer

from tmt.recipes import RECIPES
from tmt.training import muon

RUNS: dict[str, dict[str, Any]] = {
    "tmt": dict(arch="tmt"),
    "tmt, published": dict(
        arch="tmt", recipe="paper",
        model=dict(routing_dim=0, local_window=1, successors=False, decay="distance", stream_inputs="shared",
                   exit_objective="entropy", target_depth=None, exit_threshold=0.5),
    ),
    "transformer": dict(arch="transformer"),
    "golf": dict(arch="golf", recipe="golf"),
    "toeplitz": dict(arch="toeplitz"),
}  # fmt: skip

LOSSES: dict[str, list[float]] = {
    "tmt": [3.711187109, 3.688277553, 3.627124432, 3.541538588, 3.479076381],
    "tmt, published": [3.675034243, 3.694052715, 3.66087697, 3.635404288, 3.650686689],
    "transformer": [3.699456827, 3.67957063, 3.656007773, 3.690622221, 3.66025976],
    "golf": [3.618104851, 3.327625976, 2.989934437, 2.825273519, 2.737802294],
    "toeplitz": [3.509093051, 3.488083731, 3.408203555, 3.341233686, 3.268417694],
}


def orthogonalised(matrices: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    """The iteration of :mod:`tmt.training.muon`, one matrix at a time, as it is published."""
    results = []
    for matrix in matrices:
        x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        x = x / x.norm().clamp(min=1e-7)
        for a, b, c in coefficients:
            gram = x @ x.T
            x = a * x + b * gram @ x + c * gram @ gram @ x
        results.append(x.T if matrix.shape[0] > matrix.shape[1] else x)
    return torch.stack(results)


def losses(name: str, folder: Path) -> list[float]:
    """Those of the steps 1, 2, 5, 10 and 20."""
    settings = RUNS[name]
    optim = RECIPES[settings.get("recipe", "modern")]["optim"]
    torch.set_default_dtype(torch.float64)
    try:
        trainer = make_trainer(folder, settings["arch"], model=settings.get("model"), optim=optim, steps=20)
        course = [float(trainer.take_step().loss) for _ in range(20)]
    finally:
        torch.set_default_dtype(torch.float32)
    return [course[step - 1] for step in (1, 2, 5, 10, 20)]


@pytest.mark.parametrize("name", RUNS)
def test_twenty_losses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(muon, "orthogonalised", orthogonalised)
    found = losses(name, tmp_path)
    assert found == pytest.approx(LOSSES[name], rel=1e-6)
    assert found[0] == pytest.approx(math.log(40), abs=0.25)


@pytest.mark.parametrize("shape", [(2, 20, 30), (3, 30, 20), (1, 16, 16)])
@pytest.mark.parametrize("name", muon.ORTHOGONALISERS)
def test_the_batched_orthogonaliser_is_the_published_one(shape: tuple[int, int, int], name: str):
    matrices, coefficients = torch.randn(shape), muon.ORTHOGONALISERS[name]
    expected = orthogonalised(matrices.double(), coefficients)
    close = (muon.orthogonalised(matrices, coefficients).double() - expected).norm() / expected.norm()
    assert close < 0.06


if __name__ == "__main__":
    muon.orthogonalised = orthogonalised
    with TemporaryDirectory() as scratch:
        for run in RUNS:
            print(f"    {run!r}: {[round(loss, 9) for loss in losses(run, Path(scratch))]},")
