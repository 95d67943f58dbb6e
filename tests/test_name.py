"""Our command under both its names, and beside the package that has the first one too."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tmt import __version__

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", ["tmt", "temporalmesh"])
def test_both_names_are_one_command(module: str):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in done.stdout
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts[module] == "temporalmesh:main"


@pytest.mark.parametrize("module", ["tmt", "temporalmesh"])
def test_an_environment_with_the_other_package_is_told_so(module: str, tmp_path: Path):
    (tmp_path / "tmt-1.78.0.dist-info").mkdir()
    (tmp_path / "tmt-1.78.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: tmt\nVersion: 1.78.0\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from runpy import run_module as run; "
    code += f"sys.argv[1:] = ['--version']; run({module!r}, run_name='__main__', alter_sys=True)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("temporalmesh: error: the package tmt 1.78.0 (Test Management Tool)")
    assert done.stderr.count("\n") == 1


def test_files_that_another_package_took_along_are_to_be_installed_anew(tmp_path: Path):
    (tmp_path / "tmt").mkdir()
    (tmp_path / "tmt/__init__.py").touch()
    shutil.copy(ROOT / "src/tmt/cli.py", tmp_path / "tmt/cli.py")
    shutil.copytree(ROOT / "src/temporalmesh", tmp_path / "temporalmesh")
    command = [sys.executable, "-m", "temporalmesh"]
    places = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=places, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pip install --force-reinstall temporalmesh-transformer" in done.stderr
