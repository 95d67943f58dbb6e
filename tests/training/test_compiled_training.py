"""Training through torch.compile: the losses of eager steps, and files that know nothing of it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from trainers import make_trainer, run

from tmt.training.loop import Trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
compiled: list[torch.nn.Module] = []


@pytest.fixture(autouse=True)
def traced_but_not_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend that needs no compiler."""
    compiled.clear()
    trace = partial(torch.compile, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or trace(model))


def trainers(folder: Path, arch: str, **train: Any) -> list[Trainer]:
    """An eager and a compiled one."""
    for name in ("eager", "compiled"):
        (folder / name).mkdir()
    return [
        make_trainer(folder / name, arch, compile=name == "compiled", **train)
        for name in ("eager", "compiled")
    ]


@pytest.mark.shows("TrainConfig", "compile")
@pytest.mark.parametrize("arch", ["transformer", pytest.param("tmt", marks=pytest.mark.learning)])
def test_losses_are_those_of_eager_steps(arch: str, tmp_path: Path):
    """TMT with exits: as many tokens of every sequence stay in every step."""
    eager, fused = trainers(tmp_path, arch, steps=9)
    assert compiled == [fused.model]
    for _ in range(3):
        expected, actual = eager.take_step(), fused.take_step()
        assert actual.loss == pytest.approx(expected.loss, rel=1e-5)
        assert actual.grad_norm == pytest.approx(expected.grad_norm, rel=1e-3)


def test_a_compiled_run_is_saved_and_goes_on_as_any_other(tmp_path: Path):
    eager, fused = trainers(tmp_path, "transformer", steps=4, eval_every=0.5)
    for trainer in (eager, fused):
        run(trainer)
    own, other = (load_file(trainer.folder / "model.safetensors") for trainer in (fused, eager))
    assert own.keys() == other.keys()
    for name, weight in own.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-3, atol=1e-4)
    again = make_trainer(fused.folder, "transformer", steps=6)
    again.resume()
    assert again.take_step().loss == pytest.approx(fused.take_step().loss, rel=1e-5)
