"""The package as a whole: light to import, complete, in small files, under the published names."""

import importlib
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import tmt
from tmt.cli import COMMANDS

SOURCE = Path(tmt.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = [
    ".".join(("tmt", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for file in FILES
    if file.name != "__main__.py"
]
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
HEAVY = {
    "transformers", "datasets", "pyarrow", "sentencepiece", "matplotlib", "gradio", "pandas", "tensorboard",
    "lm_eval",
}  # fmt: skip


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_commands_import_nothing_optional():
    modules = ", ".join(place.partition(":")[0] for _, place in COMMANDS.values())
    loaded = python(f"import sys, {modules}; print(*{{n.split('.')[0] for n in sys.modules}})").split()
    assert "torch" in loaded
    assert HEAVY & set(loaded) == set()


def test_every_module_can_be_imported_and_says_what_it_is():
    assert [module for module in MODULES if not importlib.import_module(module).__doc__] == []


def test_files_are_short():
    assert [file for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > 300] == []


def test_types_are_shipped():
    assert (SOURCE / "py.typed").exists()


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("tmt.model.config", ["TMTConfig"]),
        ("tmt.model.model", ["TMTModel", "TMTOutput"]),
        ("tmt.training.loss", ["compute_loss"]),
        ("tmt.training.scheduler", ["cosine_warmup_scheduler"]),
    ],
)
def test_published_import_paths(module: str, names: list[str]):
    for name in names:
        published = getattr(importlib.import_module(module), name)
        assert published.__name__ == name
        assert published.__doc__


@pytest.mark.skipif(not CONSTRAINTS.exists(), reason="an installed package without its repository")
def test_what_is_installed_is_locked():
    lines = (line.partition("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line]
    here = {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}
    installed = {canonicalize_name(each.name): each.version for each in distributions()}
    for name in ("temporalmesh-transformer", "pip", "setuptools"):
        installed.pop(name, None)
    strange = {
        name: version
        for name, version in installed.items()
        if name not in here or not here[name].specifier.contains(version, prereleases=True)
    }
    assert strange == {}, "not as constraints.txt has them: install with `-c constraints.txt`, or `make lock`"
