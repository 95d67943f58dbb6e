"""What a study file may say, and that a mistake in one is found before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny_runs import Result
from tmt.errors import InputError
from tmt.model.registry import ARCHITECTURES
from tmt.options.study_file import Study, read_study

pytest_plugins = ["command_line"]

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "recipes" / "studies").glob("*.yaml"))

SMALL: dict[str, Any] = dict(
    base="dense",
    seeds=[1, 2],
    budget={"steps": 3},
    train={"seq_len": 32, "batch_size": 2, "set": ["train.log_every=1"]},
    runs={"dense": {"arch": "transformer"}, "mesh": {"arch": "tmt", "set": ["model.graph_k=3"]}},
    evaluations={"valid": {"split": "valid"}},
)


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False), encoding="utf-8")
    return path


def study_of(folder: Path, **changes: Any) -> Study:
    return read_study(written(folder, **changes))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_that_come_along_are_valid(path: Path):
    study = read_study(path)
    assert study.about
    assert all(job.config.arch in ARCHITECTURES for job in study.jobs)


def test_the_file_in_the_documentation_is_one(tmp_path: Path):
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    path = tmp_path / "study.yaml"
    text = page.partition("```yaml\n")[2].partition("```")[0].replace("base: window ", "base: window, gate ")
    path.write_text(text, encoding="utf-8")
    assert len(read_study(path).jobs) == 2 * 2 * 2


def test_every_run_is_made_with_every_seed_the_first_seed_first(tmp_path: Path):
    jobs = study_of(tmp_path).jobs
    assert [(job.name, job.seed) for job in jobs] == [("dense", 1), ("mesh", 1), ("dense", 2), ("mesh", 2)]
    assert [job.slug for job in jobs] == ["dense-1", "mesh-1", "dense-2", "mesh-2"]
    config = jobs[3].config
    assert (config.arch, config.model.graph_k, config.train.seed, config.train.steps) == ("tmt", 3, 2, 3)
    assert (config.train.seq_len, config.train.log_every, config.train.minutes) == (32, 1, None)


def test_a_run_may_have_seeds_of_its_own(tmp_path: Path):
    runs = {"dense": {"arch": "transformer", "seeds": [1, 2, 3]}, "mesh": {"arch": "tmt"}}
    jobs = study_of(tmp_path, runs=runs).jobs
    assert [(job.name, job.seed) for job in jobs][-2:] == [("mesh", 2), ("dense", 3)]


def test_a_grid_multiplies_every_run(tmp_path: Path):
    grid = {
        "decay": {"gate": {}, "plain": {"set": ["model.decay=none"]}},
        "rate": {"low": {"lr": 0.01}, "high": {"lr": 0.1}},
    }
    study = study_of(tmp_path, base="mesh, gate, low", grid=grid, runs={"mesh": {"arch": "tmt"}})
    assert study.names == ["mesh, gate, low", "mesh, gate, high", "mesh, plain, low", "mesh, plain, high"]
    configs = {job.name: job.config for job in study.jobs}
    assert [config.model.decay for config in configs.values()] == ["data", "data", "none", "none"]
    assert [config.optim.lr for config in configs.values()] == [0.01, 0.1, 0.01, 0.1]


def test_an_evaluation_may_be_for_a_few_runs(tmp_path: Path):
    evaluations = {"valid": None, "bank": {"command": "score", "memory": True, "runs": ["mesh"]}}
    jobs = study_of(tmp_path, evaluations=evaluations).jobs
    assert [[e.name for e in job.evaluations] for job in jobs[:2]] == [["valid"], ["valid", "bank"]]


@pytest.mark.parametrize("kind", ["steps", "tokens", "flops", "minutes", "core_minutes"])
def test_every_run_has_the_budget(kind: str, tmp_path: Path):
    for job in study_of(tmp_path, budget={kind: 640}).jobs:
        assert (job.config.train.budget, job.config.train.amount) == (kind, 640)


DENSE = {"arch": "transformer"}
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (dict(baze="x"), "unknown study field 'baze'; did you mean base"),
    "unknown base": (dict(base="dens"), "base: unknown run 'dens'; did you mean dense?"),
    "unknown architecture": (dict(runs={"dense": {"arch": "transfomer"}}), "dense: .*transfomer"),
    "unknown option": (dict(runs={"dense": {**DENSE, "stepz": 1}}), "dense: unknown option"),
    "bad field": (dict(runs={"dense": {**DENSE, "set": ["model.d_modl=3"]}}), "dense: .*d_modl"),
    "bad value": (dict(runs={"dense": {**DENSE, "set": ["optim.lr=-1"]}}), "dense: .*lr=-1"),
    "own seed": (dict(runs={"dense": {**DENSE, "seed": 4}}), "dense: seed is set by the study"),
    "own budget": (dict(runs={"dense": {**DENSE, "set": ["train.steps=9"]}}), "dense: steps is set"),
    "two budgets": (dict(budget={"steps": 3, "tokens": 9}), "budget: give one of steps"),
    "unknown budget": (dict(budget={"step": 3}), "budget: unknown budget 'step'"),
    "empty budget": (dict(budget={"steps": 0}), "dense: .*steps=0 must be above zero"),
    "no seeds": (dict(seeds=[]), "seeds: give at least one"),
    "seed twice": (dict(seeds=[1, 1]), "seeds: give at least one, each once"),
    "unequal steps": (
        dict(runs={"dense": DENSE, "wide": {**DENSE, "batch_size": 4}}),
        "wide: 3 steps of 128 tokens are not the budget of dense",
    ),
    "broken steps": (dict(budget={"tokens": 100}), "dense: 100 tokens are no whole number of steps"),
    "other text": (dict(runs={"dense": DENSE, "less": {**DENSE, "max_bytes": 9}}), "less: it reads another"),
    "same folder": (dict(runs={"dense": DENSE, "Dense": DENSE}), "runs: 'Dense' cannot be told from 'dense'"),
    "no name": (dict(runs={"dense": DENSE, "+": DENSE}), "runs: '\\+' is no name"),
    "unknown score": (dict(compare=["tset"]), "compare: unknown evaluation 'tset'"),
    "bad score": (dict(evaluations={"v": {"contex": 3}}), "evaluations.v: unknown option of tmt eval field"),
    "bad command": (dict(evaluations={"v": {"command": "evil"}}), "evaluations.v: unknown command 'evil'"),
    "scored run": (dict(evaluations={"v": {"runs": ["mash"]}}), "evaluations.v: unknown run 'mash'"),
    "too long": (dict(evaluations={"v": {"context": 9000}}), "dense: evaluation 'v' reads 9000 tokens"),
    "no artifact": (dict(evaluations={"v": {"artifact": True}}), "evaluations.v: artifact: true needs"),
    "contrast": (dict(contrasts={"c": {"dense": 1, "mesh": 1}}), "contrasts.c: the weights"),
    "contrast's run": (dict(contrasts={"c": {"dens": 1, "mesh": -1}}), "contrasts.c: unknown run 'dens'"),
    "contrast's name": (dict(contrasts={"mesh": {"dense": 1, "mesh": -1}}), "contrasts.mesh: a run"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(mistake: str, tmp_path: Path):
    changes, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=f"study.yaml: (study: )?{message}") as error:
        study_of(tmp_path, **changes)
    assert "\n" not in str(error.value)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path):
    path = written(tmp_path)
    path.write_text(path.read_text() + "base: mesh\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 22: 'base' is there twice"):
        read_study(path)


@pytest.mark.parametrize(
    ("text", "message"), [("", "is no study"), ("a: [", "expected"), ("a: 1", "is missing")]
)
def test_what_is_no_study_is_refused(text: str, message: str, tmp_path: Path):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_study(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out=x", "--slots=0"], "slots=0"),
        ([], "--out"),
        (["--out=x", "--only=dense-9"], "unknown run 'dense-9'"),
        (["--table"], "no folder of records"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], message: str, tmp_path: Path, tmt: Callable[..., Result]
):
    assert message in tmt("study", written(tmp_path), *options).complaint


def test_minutes_are_not_shared(tmp_path: Path, tmt: Callable[..., Result], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tmt.machine.usable_cores", lambda: 2)
    path = written(tmp_path, budget={"minutes": 1})
    assert "no fair minutes" in tmt("study", path, "--out=x", "--slots=2").complaint
