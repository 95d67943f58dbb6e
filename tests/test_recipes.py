"""The recipe files: each is a valid training command, and the small ones run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import SHORT, SMALL, Result
from tmt.cli import parse
from tmt.model import build_model
from tmt.options.train import resolve
from tmt.run_folder import load_config

pytest_plugins = ["command_line"]

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
NANO = [recipe for recipe in RECIPES if recipe.name.startswith("nano")]


def test_there_are_recipes():
    assert {recipe.name for recipe in NANO} >= {"nano.yaml", "nano-transformer.yaml"}
    assert len(RECIPES) > len(NANO)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_it_resolves_to_a_run(recipe: Path):
    name, options, given = parse(["train", f"--config={recipe}"])
    assert name == "train"
    assert {"arch", "preset", "data"} <= given
    config = resolve(options, vocab_size=300)
    assert (config.arch, config.preset, config.data.source) == (options.arch, options.preset, options.data)
    for field, value in {**options.model, **options.optim}.items():
        section = config.model if field in options.model else config.optim
        assert getattr(section, field) == value
    assert build_model(config.arch, config.model).param_count() > 10_000


@pytest.mark.parametrize("recipe", NANO, ids=lambda path: path.stem)
def test_a_small_one_runs(recipe: Path, corpus: Path, tmt: Callable[..., Result], tmp_path: Path):
    folder, arch = tmp_path / "run", parse(["train", f"--config={recipe}"])[1].arch
    budget = ["--minutes=null", "--steps=2"]
    tiny = [*SMALL[arch], *SHORT, f"--data={corpus}"]
    result = tmt("train", f"--config={recipe}", *tiny, *budget, f"--out={folder}")
    assert result.code == 0
    assert "bits/byte" in result.out
    assert load_config(folder).arch == arch
