"""The code that a record names."""

import subprocess
from pathlib import Path

import pytest

from tmt import __version__
from tmt.code_version import code_version


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "__init__.py").write_text("1\n")
    monkeypatch.setattr("tmt.code_version.SOURCE", folder)
    code_version.cache_clear()
    yield folder
    code_version.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *name, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_and_whether_files_differ(source: Path):
    git(source, "init", "-q")
    git(source, "add", ".")
    git(source, "commit", "-q", "-m", "one")
    commit = git(source, "rev-parse", "HEAD")[:12]
    assert code_version() == commit
    code_version.cache_clear()
    (source / "__init__.py").write_text("2\n")
    assert code_version() == f"{commit}+"


def test_installed_code_has_a_version(source: Path):
    assert code_version() == f"version {__version__}"
    git(source.parent, "init", "-q")  # a repository that does not hold the package
    code_version.cache_clear()
    assert code_version() == f"version {__version__}"
